/**
 * What all scanners of split patterns are made of: characters, their classes and runs of them, in UTF-8 bytes
 * that are known to be valid.
 */

/** Where the piece ends that starts at `start`; `start < end`, the text being `bytes[0..end)`. */
export type PieceEnd = (
  bytes: Uint8Array,
  start: number,
  end: number,
  classes: Uint8Array,
) => number;

/** Bytes of the character that starts with `lead`. */
export function characterLength(lead: number): number {
  return lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

/** The code point at `i`, whose lead byte is not ASCII. */
export function codePointAt(bytes: Uint8Array, i: number, lead: number): number {
  const second = (bytes[i + 1] ?? 0) & 0x3f;
  if (lead < 0xe0) return ((lead & 0x1f) << 6) | second;
  const third = (bytes[i + 2] ?? 0) & 0x3f;
  if (lead < 0xf0) return ((lead & 0x0f) << 12) | (second << 6) | third;
  return ((lead & 0x07) << 18) | (second << 12) | (third << 6) | ((bytes[i + 3] ?? 0) & 0x3f);
}

/** The class of the character at `i`. */
export function classAt(bytes: Uint8Array, i: number, classes: Uint8Array): number {
  const lead = bytes[i] ?? 0;
  return classes[lead < 0x80 ? lead : codePointAt(bytes, i, lead)] ?? 0;
}

/** The end of the run of characters from `i` on whose class is in `mask`. */
export function runEnd(
  bytes: Uint8Array,
  i: number,
  end: number,
  classes: Uint8Array,
  mask: number,
): number {
  while (i < end) {
    const lead = bytes[i] ?? 0;
    const kind = classes[lead < 0x80 ? lead : codePointAt(bytes, i, lead)] ?? 0;
    if (((mask >> kind) & 1) === 0) return i;
    i += characterLength(lead);
  }
  return end;
}

/** The start of the character before `i`. */
export function before(bytes: Uint8Array, i: number): number {
  do i--;
  while (((bytes[i] ?? 0) & 0xc0) === 0x80);
  return i;
}
