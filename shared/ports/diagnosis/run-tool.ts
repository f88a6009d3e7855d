import { execFile } from 'node:child_process';

const TIMEOUT_MS = 2_000;
const MAX_OUTPUT_BYTES = 4 * 1024 * 1024;

/** What a tool of the system prints, whatever its exit code; empty when it is missing, slow or too talkative. */
export function outputOf(program: string, args: readonly string[]): Promise<string> {
  const options = { timeout: TIMEOUT_MS, maxBuffer: MAX_OUTPUT_BYTES, windowsHide: true };
  return new Promise((resolve) => {
    execFile(program, args, options, (error, stdout) => resolve(error?.killed === true ? '' : stdout));
  });
}
