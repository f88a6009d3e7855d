import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';

/** A program of another system, found first in PATH, that prints what it is told to. For Unix. */
export class FakeTool {
  private readonly dir = mkdtempSync(join(tmpdir(), 'portferry-tool-'));
  private readonly path = process.env.PATH;
  private readonly calls = join(this.dir, 'calls');

  constructor(name: string, output: string) {
    const program = join(this.dir, name);
    this.print(output);
    writeFileSync(program, `#!/bin/sh\necho "$@" >> '${this.calls}'\ncat '${this.dir}/output'\n`);
    chmodSync(program, 0o755);
    process.env.PATH = `${this.dir}${delimiter}${this.path}`;
  }

  /** What it prints from now on. */
  print(output: string): void {
    writeFileSync(join(this.dir, 'output'), output);
  }

  /** The arguments of each time that it ran. */
  get runs(): string[] {
    return existsSync(this.calls) ? readFileSync(this.calls, 'utf8').trimEnd().split('\n') : [];
  }

  remove(): void {
    process.env.PATH = this.path;
    rmSync(this.dir, { recursive: true });
  }
}
