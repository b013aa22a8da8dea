import { HeaderFields } from "../../src/header-fields.ts";
import type { Answer } from "../../src/upstream/upstream.ts";

/** All of an answer's body. */
export async function bytesOf({ body }: Answer): Promise<Uint8Array<ArrayBuffer>> {
  if (body === null) return new Uint8Array();
  if (body instanceof Uint8Array) return body;
  const pieces: Uint8Array[] = [];
  for (let piece = await body.read(); piece !== null; piece = await body.read()) pieces.push(piece);
  return Buffer.concat(pieces);
}

/** All of an answer's body, as text. */
export async function textOf(answer: Answer): Promise<string> {
  return new TextDecoder().decode(await bytesOf(answer));
}

/** A response as an upstream's answer whose body is still arriving. */
export function asAnswer(response: Response): Answer {
  const { status, statusText, body } = response;
  const headers = HeaderFields.from(response.headers.toJSON());
  const reader = body?.getReader();
  if (reader === undefined) return { status, statusText, headers, body: null };
  const read = async (): Promise<Uint8Array<ArrayBuffer> | null> => {
    const piece = await reader.read();
    return piece.done ? null : piece.value;
  };
  return {
    status,
    statusText,
    headers,
    body: {
      read,
      async each(take) {
        for (let piece = await read(); piece !== null; piece = await read()) await take(piece);
      },
      cancel: () => void reader.cancel(),
    },
  };
}
