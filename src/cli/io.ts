/**
 * What a command may touch outside itself, so that tests run every command in their own process.
 */
export interface Io {
  /** Writes to standard output, as it is: lines bring their own end. */
  out(text: string): void;
  /** Writes to standard error, as it is. */
  err(text: string): void;
  env: Record<string, string | undefined>;
  /** Calls `run` at each signal that asks the program to stop (SIGINT, SIGTERM). */
  onSignal(run: () => void): void;
  /** Calls `run` at each signal that asks the program to read its configuration again (SIGHUP). */
  onHangUp(run: () => void): void;
}
