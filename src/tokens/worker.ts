/**
 * The thread that counts long texts. Built into the executable as an entry point of its own
 * (`bun build --compile src/main.ts src/tokens/worker.ts`), as `remote.ts` starts it by its name.
 */
import { answer, type Question } from "./remote.ts";

declare const self: Worker;

self.onmessage = (event: MessageEvent<Question>) => self.postMessage(answer(event.data));
