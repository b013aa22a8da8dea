/**
 * Archives with the executable bit, which `Bun.Archive` (1.4) does not keep. Only what a release needs:
 * plain files, names under 100 bytes, sizes under 4 GiB.
 */
import { deflateRawSync } from "node:zlib";

export interface ArchivedFile {
  name: string;
  content: Uint8Array;
  executable: boolean;
}

const mode = (file: ArchivedFile): number => (file.executable ? 0o755 : 0o644);

/**
 * A gzipped tar in POSIX ustar format (pax(1), "ustar Interchange Format").
 *
 * @param modified seconds since the Unix epoch, the same for each file, so that equal files make equal archives.
 */
export function tarGz(files: readonly ArchivedFile[], modified: number): Uint8Array {
  const blocks = files.flatMap((file) => {
    const header = Buffer.alloc(512);
    const octal = (value: number, at: number, width: number): void => {
      header.write(`${value.toString(8).padStart(width - 1, "0")}\0`, at, "latin1");
    };
    header.write(file.name, 0, 100);
    octal(mode(file), 100, 8);
    octal(0, 108, 8); // owner
    octal(0, 116, 8); // group
    octal(file.content.length, 124, 12);
    octal(modified, 136, 12);
    header.fill(" ", 148, 156); // the checksum is summed as spaces
    header.write("0", 156); // a regular file
    header.write("ustar\u000000", 257, "latin1");
    const sum = header.reduce((total, byte) => total + byte, 0);
    header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
    return [header, file.content, Buffer.alloc((512 - (file.content.length % 512)) % 512)];
  });
  return Bun.gzipSync(Buffer.concat([...blocks, Buffer.alloc(1024)]), { level: 9 });
}

/** A zip (APPNOTE 6.3) whose entries are deflated; the times are UTC, of which the format says nothing. */
export function zip(files: readonly ArchivedFile[], modified: number): Uint8Array {
  const [date, time] = dosTime(new Date(modified * 1000));
  const parts: Uint8Array[] = [];
  const directory: Uint8Array[] = [];
  let offset = 0;
  for (const file of files) {
    const name = Buffer.from(file.name);
    const packed = deflateRawSync(file.content, { level: 9 });
    // What the local header and the directory's entry have in common, from "version needed" on.
    const shared = Buffer.alloc(26);
    shared.writeUInt16LE(20, 0);
    shared.writeUInt16LE(8, 4); // deflate
    shared.writeUInt16LE(time, 6);
    shared.writeUInt16LE(date, 8);
    shared.writeUInt32LE(Bun.hash.crc32(file.content), 10);
    shared.writeUInt32LE(packed.length, 14);
    shared.writeUInt32LE(file.content.length, 18);
    shared.writeUInt16LE(name.length, 22);
    parts.push(Buffer.from("PK\u0003\u0004"), shared, name, packed);

    const entry = Buffer.alloc(14);
    // Comment length, disk, internal attributes: none. The upper half of the external ones is a Unix mode.
    entry.writeUInt32LE((0o100000 | mode(file)) * 0x10000, 6);
    entry.writeUInt32LE(offset, 10);
    const madeByUnix = Buffer.from([20, 3]);
    directory.push(Buffer.from("PK\u0001\u0002"), madeByUnix, shared, entry, name);
    offset += 4 + shared.length + name.length + packed.length;
  }
  const end = Buffer.alloc(22);
  end.write("PK\u0005\u0006", 0, "latin1");
  end.writeUInt16LE(files.length, 8);
  end.writeUInt16LE(files.length, 10);
  end.writeUInt32LE(
    directory.reduce((size, part) => size + part.length, 0),
    12,
  );
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...parts, ...directory, end]);
}

function dosTime(at: Date): [date: number, time: number] {
  return [
    (Math.max(0, at.getUTCFullYear() - 1980) << 9) |
      ((at.getUTCMonth() + 1) << 5) |
      at.getUTCDate(),
    (at.getUTCHours() << 11) | (at.getUTCMinutes() << 5) | (at.getUTCSeconds() >> 1),
  ];
}
