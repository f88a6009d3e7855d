/** Linux tells by /proc. A socket that is bound and neither listens nor is connected is in no table there. */
import { open, readFile } from 'node:fs/promises';
import { formatEndpoint } from '../../ip.ts';
import type { Holder, PortDiagnosis, Wanted, WantedPort } from './diagnosis.ts';
import { overlaps } from './overlap.ts';
import { findProcess } from './proc-fd.ts';
import { parseProcNet, parseProcUnix, type SocketRow } from './proc-net.ts';

/** Of each table, bytes: more than 50,000 sockets. Those that listen come first. */
const MAX_TABLE_BYTES = 8 * 1024 * 1024;
const CHUNK_BYTES = 64 * 1024;
const LEAST_PORT = '/proc/sys/net/ipv4/ip_unprivileged_port_start';

export const diagnosis: PortDiagnosis = { findHolder, whyDenied };

async function findHolder(wanted: Wanted): Promise<Holder | undefined> {
  if (wanted.protocol === 'unix') {
    const inode = parseProcUnix(await readTable('unix'), wanted.path);
    if (inode === undefined) return undefined;
    return { where: wanted.path, process: await findProcess(inode), user: undefined };
  }
  const { protocol, ip, port } = wanted;
  const six = ip.includes(':');
  // A dual-stack :: is in the table of IPv6 and takes IPv4 too; nothing of IPv4 is in the way of our :: .
  const tables = six ? [`${protocol}6`] : [protocol, `${protocol}6`];
  const rows = (await Promise.all(tables.map(readTable))).flatMap((text) => parseProcNet(text, port));
  const [row] = rows.filter((each) => overlaps(ip, each.ip)).sort(byWeight(ip));
  if (row === undefined) return undefined;
  return { where: formatEndpoint(row.ip, port), process: await findProcess(row.inode), user: row.uid };
}

/** Sockets that listen come first, then those at the very address. */
function byWeight(ip: string): (a: SocketRow, b: SocketRow) => number {
  const weight = (row: SocketRow): number => (row.listens ? 2 : 0) + (row.ip === ip ? 1 : 0);
  return (a, b) => weight(b) - weight(a);
}

async function whyDenied({ port }: WantedPort): Promise<string | undefined> {
  const least = await readFile(LEAST_PORT, 'utf8').then(Number, () => 1024);
  if (port >= least)
    return `the number is not the reason, since any user may take ports from ${least} on; a security module (SELinux, AppArmor) or a sandbox may be`;
  return `ports below ${least} need a privilege: sysctl net.ipv4.ip_unprivileged_port_start=${port} lowers that limit, setcap cap_net_bind_service=+ep ${process.execPath} gives it to node; or take a port from ${least} on`;
}

/** A file of /proc has no size; its end is where nothing more is read. */
async function readTable(name: string): Promise<string> {
  let file: Awaited<ReturnType<typeof open>>;
  try {
    file = await open(`/proc/net/${name}`, 'r');
  } catch {
    return ''; // no such family here
  }
  try {
    const chunks: Buffer[] = [];
    for (let total = 0; total < MAX_TABLE_BYTES; ) {
      const { bytesRead, buffer } = await file.read(Buffer.alloc(CHUNK_BYTES));
      if (bytesRead === 0) break;
      chunks.push(buffer.subarray(0, bytesRead));
      total += bytesRead;
    }
    return Buffer.concat(chunks).toString('latin1');
  } finally {
    await file.close();
  }
}
