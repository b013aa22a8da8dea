/** What the live display of the demo shows. */
export interface Progress {
  /** Since the burst began. */
  elapsedMs: number;
  total: number;
  /** In Cooldown's queue. */
  waiting: number;
  answered: number;
  /** Requests that the provider counts in the second that ends now, and its limit of them. */
  inLastSecond: number;
  limitPerSecond: number;
  /** Refusals by the provider. */
  refused: number;
}

/** Shows progress, one call a moment. */
export interface View {
  /** How often it wants to be shown something, ms. */
  readonly everyMs: number;
  show(progress: Progress): void;
}

const barWidth = 40;
/** Carriage return, up n lines, clear to the end of the screen (ECMA-48 CUU and ED). */
const back = (lines: number): string => `\r\u001B[${lines}A\u001B[J`;

/** A display that redraws itself in place, for terminals. */
export function liveView(out: (text: string) => void): View {
  let drawn = 0;
  return {
    everyMs: 100,
    show(progress) {
      const { total, waiting, answered, inLastSecond, limitPerSecond } = progress;
      const lines = [
        `  waiting      ${bar(waiting, total)} ${waiting}`,
        `  answered     ${bar(answered, total)} ${answered} of ${total}`,
        `  last second  ${bar(inLastSecond, limitPerSecond)} ${inLastSecond} of ${limitPerSecond} allowed`,
        `  429 from the provider: ${progress.refused}     ${seconds(progress.elapsedMs)}`,
      ];
      out(`${drawn === 0 ? "" : back(drawn)}${lines.join("\n")}\n`);
      drawn = lines.length;
    },
  };
}

/** A display of a line a second, for logs and pipes. */
export function plainView(out: (text: string) => void): View {
  return {
    everyMs: 1_000,
    show({ elapsedMs, total, waiting, answered, refused }) {
      out(
        `  ${seconds(elapsedMs).padStart(6)}  ${String(waiting).padStart(4)} waiting, ` +
          `${String(answered).padStart(4)} of ${total} answered, ${refused} × 429 from the provider\n`,
      );
    },
  };
}

function bar(value: number, most: number): string {
  const full = Math.min(barWidth, Math.round((value / Math.max(1, most)) * barWidth));
  return "█".repeat(full) + "░".repeat(barWidth - full);
}

/** `12.3 s`. */
export function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}

/** Rows of equal cells as lines: the first column left, the others right. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => row[column]?.length ?? 0)),
  );
  const line = (row: readonly string[]): string =>
    row
      .map((cell, column) =>
        column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0),
      )
      .join("   ");
  return rows.map((row) => `  ${line(row).trimEnd()}\n`).join("");
}
