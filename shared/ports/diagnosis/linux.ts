/** Linux tells by /proc. A socket that is bound and neither listens nor is connected is in no table there. */
import { open, readFile } from 'node:fs/promises';
import type { HostPlace } from '../../errors.ts';
import { formatEndpoint } from '../../ip.ts';
import type { Holder, PortDiagnosis, WantedPort } from './diagnosis.ts';
import { overlaps } from './overlap.ts';
import { findProcess } from './proc-fd.ts';
import { parseProcNet, parseProcUnix, type SocketRow } from './proc-net.ts';

/** Of each table, bytes: more than 50,000 sockets. */
const MAX_TABLE_BYTES = 8 * 1024 * 1024;
const PIECE_BYTES = 64 * 1024;
const LEAST_PORT = '/proc/sys/net/ipv4/ip_unprivileged_port_start';

export const diagnosis: PortDiagnosis = { findHolder, whyDenied };

async function findHolder(wanted: HostPlace): Promise<Holder | undefined> {
  if (wanted.protocol === 'unix') {
    for await (const text of linesOf('unix')) {
      const inode = parseProcUnix(text, wanted.path);
      if (inode !== undefined)
        return { where: wanted.path, process: await findProcess(inode), user: undefined };
    }
    return undefined;
  }
  const row = await findSocket(wanted);
  if (row === undefined) return undefined;
  return {
    where: formatEndpoint(row.ip, row.port),
    process: await findProcess(row.inode),
    user: row.uid,
  };
}

/** A socket that listens in the way; else one that is bound or connected there. */
async function findSocket({ protocol, ip, port }: WantedPort): Promise<SocketRow | undefined> {
  // A dual-stack :: is in the table of IPv6 and takes IPv4 too; nothing of IPv4 is in the way of our :: .
  const tables = ip.includes(':') ? [`${protocol}6`] : [protocol, `${protocol}6`];
  let other: SocketRow | undefined;
  for (const table of tables)
    for await (const text of linesOf(table))
      for (const row of parseProcNet(text, port)) {
        if (!overlaps(ip, row.ip)) continue;
        if (row.listens) return row;
        if (other === undefined || row.ip === ip) other = row;
      }
  return other;
}

async function whyDenied({ port }: WantedPort): Promise<string | undefined> {
  const least = await readFile(LEAST_PORT, 'utf8').then(Number, () => 1024);
  if (port >= least)
    return `the number is not the reason, since any user may take ports from ${least} on; a security module (SELinux, AppArmor) or a sandbox may be`;
  return `ports below ${least} need a privilege: sysctl net.ipv4.ip_unprivileged_port_start=${port} lowers that limit, setcap cap_net_bind_service=+ep ${process.execPath} gives it to node; or take a port from ${least} on`;
}

/**
 * A table in pieces of whole lines: the kernel gives a page at a time, and those that listen come first. A file of /proc
 * has no size; its end is where nothing more is read.
 */
async function* linesOf(name: string): AsyncGenerator<string> {
  let file: Awaited<ReturnType<typeof open>>;
  try {
    file = await open(`/proc/net/${name}`, 'r');
  } catch {
    return; // no such family here
  }
  try {
    const buffer = Buffer.alloc(PIECE_BYTES);
    let rest = '';
    for (let total = 0; total < MAX_TABLE_BYTES; ) {
      const { bytesRead } = await file.read(buffer);
      if (bytesRead === 0) break;
      total += bytesRead;
      const text = rest + buffer.toString('latin1', 0, bytesRead);
      const end = text.lastIndexOf('\n') + 1;
      rest = text.slice(end);
      yield text.slice(0, end);
    }
  } finally {
    await file.close();
  }
}
