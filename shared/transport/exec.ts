/** One stream over stdin and stdout of a program that reaches into the VM: ssh, wsl.exe, limactl. */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Duplex, Readable, Writable } from 'node:stream';
import { BridgeError, messageOf, nodeErrno } from '../errors.ts';
import type { Logger } from '../logger.ts';
import { splitCommandLine } from './command-line.ts';
import { TwoWay } from './two-way.ts';

/** `exec:COMMAND ARGS…`, split as splitCommandLine does. */
export interface ExecAddress {
  readonly scheme: 'exec';
  readonly argv: readonly [string, ...string[]];
  readonly url: string;
}

/** How long a program that was asked to end may take, milliseconds. */
const END_MS = 3_000;
/** What is kept of a line that the program writes to its stderr. */
const MAX_LINE = 1_000;

/** @throws BridgeError BAD_REQUEST without a command, or for a quote that is not closed */
export function parseExec(url: string): ExecAddress {
  const [program, ...rest] = splitCommandLine(url.replace(/^exec:/, ''));
  if (program === undefined || program === '')
    throw new BridgeError(
      'BAD_REQUEST',
      `"${url}" names no program: exec:ssh vm portferry vm-shim --listen stdio:`,
    );
  return { scheme: 'exec', argv: [program, ...rest], url };
}

/**
 * Starts the program. Its death ends the stream, with the reason; the end of the stream ends the program. What it
 * writes to stderr is logged. wsl.exe writes its own errors as UTF-16 unless WSL_UTF8 is set.
 * @throws BridgeError NO_LINK or PERMISSION_DENIED when it cannot be started, CANCELLED; the message has the URL
 */
export function startCommand({ argv, url }: ExecAddress, signal: AbortSignal, log: Logger): Promise<Duplex> {
  const [program, ...args] = argv;
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(new BridgeError('CANCELLED', `starting ${url} was cancelled`));
    const env = { WSL_UTF8: '1', ...process.env };
    const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'], env, windowsHide: true });
    child.once('error', (error) => reject(startError(url, program, error)));
    child.once('spawn', () => resolve(streamOf(child, program, log)));
  });
}

function streamOf(
  child: ChildProcessByStdio<Writable, Readable, Readable>,
  program: string,
  log: Logger,
): Duplex {
  const { stdin, stdout, stderr } = child;
  const stream = new TwoWay(stdout, stdin, () => {
    stdin.destroy();
    stdout.destroy();
    endChild(child);
  });
  for (const each of [stdin, stdout, stderr]) each.on('error', () => {}); // 'close' of the child follows
  child.on('error', () => {}); // it could not be signalled: it has ended
  stderr.setEncoding('utf8');
  createInterface({ input: stderr }).on('line', (line) => {
    if (line.trim() !== '') log.info({ program, childPid: child.pid }, line.slice(0, MAX_LINE));
  });
  // An end of its output is the end of the program, which is given a moment to say how it ended.
  stdout.on('end', () =>
    setTimeout(() => stream.destroy(ended(program, 'closed its stdout')), END_MS).unref(),
  );
  child.on('exit', (code, by) => {
    const how = code === null ? `was ended by ${by}` : `ended with exit code ${code}`;
    setImmediate(() => stream.destroy(ended(program, how)));
  });
  stream.on('error', () => {}); // for those that nobody listens to any more
  return stream;
}

function ended(program: string, how: string): BridgeError {
  return new BridgeError('LINK_LOST', `"${program}" ${how}; what it wrote to stderr is in the log`);
}

function endChild(child: ChildProcessByStdio<Writable, Readable, Readable>): void {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGTERM');
  setTimeout(() => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
  }, END_MS).unref();
}

function startError(url: string, program: string, error: Error): BridgeError {
  const errno = nodeErrno(error);
  if (errno === 'EACCES' || errno === 'EPERM')
    return new BridgeError('PERMISSION_DENIED', `cannot start ${url}: ${program} may not be run`, {
      cause: error,
    });
  const why = errno === 'ENOENT' ? `there is no program "${program}" (no shell is used)` : messageOf(error);
  return new BridgeError('NO_LINK', `cannot start ${url}: ${why}`, { cause: error });
}
