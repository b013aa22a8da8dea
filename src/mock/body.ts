import { problem } from "./call.ts";
import type { Call, Reading, ReadingContext } from "./call.ts";
import { isFields } from "./openai-prompt.ts";
import type { Fields } from "./openai-prompt.ts";

/** Answers a call, or says what is wrong with the fields. */
export type Read = (fields: Fields, model: string, context: ReadingContext) => Call | string;

/** Reads a JSON body that names a model, and hands it to `read`. */
export async function readBody(
  request: Request,
  read: Read,
  context: ReadingContext,
): Promise<Reading> {
  // Outside the try: a client that leaves while it uploads has sent no bad JSON.
  const text = await request.text();
  let fields: unknown;
  try {
    fields = JSON.parse(text);
  } catch {
    return problem(400, "We could not parse the JSON body of your request.");
  }
  if (!isFields(fields)) return problem(400, "The body must be a JSON object.");
  if (typeof fields["model"] !== "string")
    return problem(400, "you must provide a model parameter");
  const call = read(fields, fields["model"], context);
  return typeof call === "string" ? problem(400, call) : { kind: "call", call };
}
