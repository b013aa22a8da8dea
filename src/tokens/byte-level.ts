/**
 * The alphabet in which byte-level tokenizers write bytes as characters, so that a token is printable text:
 * printable Latin-1 stands for itself, the other 68 bytes in order are U+0100 and up.
 */
const isPrintable = (byte: number): boolean =>
  (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte !== 0xad);

const others = Array.from({ length: 256 }, (_, byte) => byte).filter((byte) => !isPrintable(byte));

/** The character for each byte. */
export const byteCharacters: readonly string[] = Array.from({ length: 256 }, (_, byte) =>
  String.fromCharCode(isPrintable(byte) ? byte : 0x100 + others.indexOf(byte)),
);

const byteOf = new Map(byteCharacters.map((character, byte) => [character, byte]));

/** The bytes of a token. Throws RangeError where a character stands for no byte. */
export function bytesOfToken(token: string): Uint8Array {
  return Uint8Array.from(token, (character) => {
    const byte = byteOf.get(character);
    if (byte === undefined) throw new RangeError(`${character} stands for no byte`);
    return byte;
  });
}
