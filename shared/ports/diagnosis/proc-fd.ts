/** Which process has a socket, by the links in /proc/PID/fd (proc(5)). Those of other users are for root to see. */
import { readdir, readFile, readlink } from 'node:fs/promises';
import { plainName } from './diagnosis.ts';

/** What one search may cost. */
export interface SearchBounds {
  /** Milliseconds. */
  readonly ms: number;
  /** Descriptors that are looked at. */
  readonly descriptors: number;
}

const BOUNDS: SearchBounds = { ms: 2_000, descriptors: 50_000 };
/** Searches at once; whoever comes while so many run is told without a name. */
const MAX_SEARCHES = 2;
/** Processes that are looked at side by side. */
const SIDE_BY_SIDE = 8;

let searches = 0;

/** @returns the process with the lowest number that has the socket open; undefined when none is found within bounds */
export async function findProcess(
  inode: string,
  bounds: SearchBounds = BOUNDS,
): Promise<{ pid: number; command: string } | undefined> {
  if (searches >= MAX_SEARCHES) return undefined;
  searches++;
  try {
    const pid = await search(`socket:[${inode}]`, bounds);
    return pid === undefined ? undefined : { pid, command: await commandOf(pid) };
  } catch {
    return undefined; // no /proc here, or the process has ended
  } finally {
    searches--;
  }
}

async function search(link: string, { ms, descriptors }: SearchBounds): Promise<number | undefined> {
  const end = performance.now() + ms;
  const names = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const pids = names.map(Number).sort((a, b) => a - b);
  let left = descriptors;
  const has = async (pid: number): Promise<boolean> => {
    const folder = `/proc/${pid}/fd`;
    const fds = await readdir(folder).catch(() => []); // not ours to see, or gone
    for (const fd of fds) {
      if (left-- <= 0 || performance.now() > end) return false;
      if ((await readlink(`${folder}/${fd}`).catch(() => '')) === link) return true;
    }
    return false;
  };
  for (let first = 0; first < pids.length && left > 0 && performance.now() <= end; first += SIDE_BY_SIDE) {
    const group = pids.slice(first, first + SIDE_BY_SIDE);
    const found = await Promise.all(group.map(has));
    const index = found.indexOf(true);
    if (index >= 0) return group[index];
  }
  return undefined;
}

async function commandOf(pid: number): Promise<string> {
  return plainName((await readFile(`/proc/${pid}/comm`, 'utf8')).trimEnd());
}
