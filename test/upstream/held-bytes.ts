import { heapStats } from "bun:jsc";

/** What this process holds in objects and strings. */
export function heldBytes(): number {
  Bun.gc(true);
  const { heapSize, extraMemorySize } = heapStats();
  return heapSize + extraMemorySize;
}
