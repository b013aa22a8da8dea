/**
 * Loaded before a program (`bun --preload`), opens its heap to a bench: `GET /clean` on the port HEAP_DOOR collects all
 * garbage, `GET /count` gives how many objects of each type there are, garbage included.
 */
import { heapStats } from "bun:jsc";

Bun.serve({
  hostname: "127.0.0.1",
  port: Number(process.env["HEAP_DOOR"]),
  fetch({ url }) {
    if (url.endsWith("/clean")) Bun.gc(true);
    return Response.json(heapStats().objectTypeCounts);
  },
});
