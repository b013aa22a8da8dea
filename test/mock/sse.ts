import { expect } from "bun:test";

/** Events of a stream that names them: the name must be the `type` in the data, as OpenAI and Anthropic have it. */
export function namedEvents(text: string): any[] {
  const parts = text.split("\n\n");
  expect(parts.pop()).toBe("");
  return parts.map((part) => {
    const [, name, data] = /^event: (.+)\ndata: (.+)$/.exec(part) ?? [];
    const event = JSON.parse(data ?? "null");
    expect(event?.type).toBe(name);
    return event;
  });
}

/** Events of a stream in the form of chat completions, which ends with [DONE]. */
export function chunks(text: string): any[] {
  const parts = text.split("\n\n");
  expect(parts.pop()).toBe("");
  expect(parts.pop()).toBe("data: [DONE]");
  return parts.map((part) => {
    expect(part).toStartWith("data: ");
    return JSON.parse(part.slice("data: ".length));
  });
}
