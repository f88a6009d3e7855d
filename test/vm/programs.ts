/** Programs that cases run and wait for. */
import { type Running, startProgram, until } from '../helpers/processes.ts';
import { WAIT_MS } from './cases.ts';

/** Runs a program to its end. */
export async function runProgram(name: string, ...args: string[]): Promise<{ code: number; said: string }> {
  const running = startProgram(name, args);
  const code = await running.exited;
  return { code, said: (running.stdout() + running.stderr()).trim() };
}

/** @throws with what it said when it fails */
export async function mustRun(name: string, ...args: string[]): Promise<string> {
  const { code, said } = await runProgram(name, ...args);
  if (code !== 0) throw new Error(`${name} ${args.join(' ')} failed with ${code}: ${said}`);
  return said;
}

/** Waits until a program has logged something. */
export function said(by: Running, text: string, timeoutMs = WAIT_MS): Promise<true> {
  const look = () => {
    if (by.child.exitCode !== null) throw new Error(`it ended: ${by.stderr()}`);
    return by.stderr().includes(text);
  };
  return until(`"${text}" to be said`, look, timeoutMs) as Promise<true>;
}
