import { spawn } from 'node:child_process';
import { mkdir, readFile } from 'node:fs/promises';
import { nodeErrno } from '../../shared/errors.ts';

/** What mounting does to the machine it runs on. */
export interface Machine {
  readonly uid: number;
  /** Runs a command to its end. `said` is what it wrote to stderr; `status` is -1 when it is not installed. */
  run(command: string, ...args: string[]): Promise<{ status: number; said: string }>;
  /** The text of a file; empty when it cannot be read. */
  read(path: string): Promise<string>;
  makeDirectory(path: string): Promise<void>;
}

export const thisMachine: Machine = {
  uid: process.geteuid?.() ?? -1,
  run: (command, ...args) =>
    new Promise((resolve, reject) => {
      const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'pipe'] });
      let said = '';
      child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
        said = (said + chunk).slice(0, 4_096);
      });
      child.on('error', (error) => {
        if (nodeErrno(error) === 'ENOENT') resolve({ status: -1, said: `${command} is not installed` });
        else reject(error);
      });
      child.on('close', (code) =>
        resolve({ status: code ?? 1, said: said.trim().replace(/\s*\n\s*/g, '; ') }),
      );
    }),
  read: (path) => readFile(path, 'utf8').catch(() => ''),
  makeDirectory: async (path) => {
    await mkdir(path, { recursive: true });
  },
};
