/**
 * The candidate that `word` was most likely meant to be, or null where none is near: equal but for case and
 * separators, a shortened or lengthened name (`rpm_limit` for `rpm`), or a few typing slips away.
 */
export function closest(word: string, candidates: readonly string[]): string | null {
  const plain = squash(word);
  const same = candidates.find((candidate) => squash(candidate) === plain);
  if (same !== undefined) return same;
  let best: string | null = null;
  let bestSlips = Math.max(1, Math.floor(plain.length / 3)) + 1;
  for (const candidate of candidates) {
    const slips = typingSlips(plain, squash(candidate));
    if (slips < bestSlips) [best, bestSlips] = [candidate, slips];
  }
  return (
    best ??
    candidates.find((other) => other.startsWith(`${word}_`) || word.startsWith(`${other}_`)) ??
    null
  );
}

function squash(word: string): string {
  return word.toLowerCase().replaceAll(/[-_\s]/g, "");
}

/** Optimal string alignment: insertions, deletions, replacements, and swaps of neighbours, one slip each. */
function typingSlips(from: string, to: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: to.length + 1 }, (_, column) => column);
  for (let row = 1; row <= from.length; row++) {
    const current = [row];
    for (let column = 1; column <= to.length; column++) {
      const replaced = (last[column - 1] ?? 0) + (from[row - 1] === to[column - 1] ? 0 : 1);
      let slips = Math.min((last[column] ?? 0) + 1, (current[column - 1] ?? 0) + 1, replaced);
      const swapped = from[row - 1] === to[column - 2] && from[row - 2] === to[column - 1];
      if (row > 1 && column > 1 && swapped)
        slips = Math.min(slips, (beforeLast[column - 2] ?? 0) + 1);
      current.push(slips);
    }
    [beforeLast, last] = [last, current];
  }
  return last[to.length] ?? 0;
}

/** ` ; did you mean "x"?`, or nothing. */
export function didYouMean(word: string, candidates: readonly string[]): string {
  const meant = closest(word, candidates);
  return meant === null ? "" : `; did you mean "${meant}"?`;
}
