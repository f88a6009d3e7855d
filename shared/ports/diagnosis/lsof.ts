/** The field output of lsof(8), `-F pctn`: p and c begin a process, t and n are the type and name of one of its files. */
import { canonicalIp } from '../../ip.ts';
import { plainName } from './diagnosis.ts';

export interface LsofFile {
  readonly pid: number;
  readonly command: string;
  /** `IPv4`, `IPv6`, `unix`...; empty where it was not asked for. */
  readonly type: string;
  /** As it stands there: `*:80`, `127.0.0.1:80`, `[::1]:80->[::1]:51000`, or a path. */
  readonly name: string;
}

export function parseLsof(text: string): LsofFile[] {
  const files: LsofFile[] = [];
  let pid = 0;
  let command = '';
  let type = '';
  for (const line of text.split('\n')) {
    const value = line.slice(1);
    if (line.startsWith('p')) pid = Number(value);
    else if (line.startsWith('c')) command = plainName(value);
    else if (line.startsWith('f')) type = '';
    else if (line.startsWith('t')) type = value;
    else if (line.startsWith('n') && pid > 0) files.push({ pid, command, type, name: value });
  }
  return files;
}

/** The local end of an internet socket's name; `*` is the wildcard of its family. */
export function localEnd(name: string, six: boolean): { ip: string; port: number } | undefined {
  const local = name.split('->')[0]!;
  const match = /^(?:\[(.+)\]|(.+)):(\d+)$/.exec(local);
  if (match === null) return undefined;
  const wildcard = six ? '::' : '0.0.0.0';
  const ip = match[2] === '*' ? wildcard : canonicalIp(match[1] ?? match[2]!);
  return ip === undefined ? undefined : { ip, port: Number(match[3]) };
}
