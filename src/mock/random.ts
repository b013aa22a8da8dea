/**
 * Repeatable randomness: the n-th request of a run with a given seed always draws the same numbers,
 * however the requests interleave.
 */
export interface Random {
  /** A number in [0, 1), uniform. */
  uniform(): number;
  /** A positive number with this mean and standard deviation, log-normal: the shape of output lengths. */
  logNormal(mean: number, deviation: number): number;
}

/** The draws of one request: `seed` names the run, `index` the request. */
export function randomFor(seed: number, index: number): Random {
  let state = (Math.imul(seed | 0, 0x9e3779b1) ^ Math.imul(index | 0, 0x85ebca6b)) >>> 0;

  // A Weyl sequence scrambled by a multiply-xorshift finaliser: neighbouring seeds share no pattern.
  const uniform = (): number => {
    state = (state + 0x9e3779b9) >>> 0;
    let mixed = state;
    mixed = Math.imul(mixed ^ (mixed >>> 16), 0x21f0aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
    return ((mixed ^ (mixed >>> 15)) >>> 0) / 0x1_0000_0000;
  };

  // Box–Muller; 1 - uniform keeps the logarithm finite.
  const normal = (): number =>
    Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());

  const logNormal = (mean: number, deviation: number): number => {
    if (mean <= 0) return 0;
    const variance = Math.log(1 + (deviation / mean) ** 2);
    return Math.exp(Math.log(mean) - variance / 2 + Math.sqrt(variance) * normal());
  };

  return { uniform, logNormal };
}
