/** The field output of lsof(8), `-F pcn`: p and c begin a process, each n is the name of one of its files. */
import { canonicalIp } from '../../ip.ts';
import { plainName } from './diagnosis.ts';

export interface LsofFile {
  readonly pid: number;
  readonly command: string;
  /** As it stands there: `*:80`, `127.0.0.1:80`, `[::1]:80->[::1]:51000`, or a path. */
  readonly name: string;
}

export function parseLsof(text: string): LsofFile[] {
  const files: LsofFile[] = [];
  let pid = 0;
  let command = '';
  for (const line of text.split('\n')) {
    const value = line.slice(1);
    if (line.startsWith('p')) pid = Number(value);
    else if (line.startsWith('c')) command = plainName(value);
    else if (line.startsWith('n') && pid > 0) files.push({ pid, command, name: value });
  }
  return files;
}

/** The local address of an internet socket's name; `*` is the wildcard of its family. */
export function localAddress(name: string, six: boolean): string | undefined {
  const local = name.split('->')[0]!;
  const match = /^(?:\[(.+)\]|(.+)):\d+$/.exec(local);
  if (match === null) return undefined;
  if (match[2] === '*') return six ? '::' : '0.0.0.0';
  return canonicalIp(match[1] ?? match[2]!);
}
