/** Windows tells by netstat, tasklist and netsh. Never run there. */
import type { HostPlace } from '../../errors.ts';
import { formatEndpoint } from '../../ip.ts';
import {
  type Holder,
  type PortDiagnosis,
  plainName,
  type TcpListener,
  type WantedPort,
} from './diagnosis.ts';
import { parseExcludedRanges, parseNetstat, parseTasklist } from './netstat.ts';
import { overlaps } from './overlap.ts';
import { outputOf } from './run-tool.ts';

export const diagnosis: PortDiagnosis = { findHolder, whyDenied, tcpListeners };

async function findHolder(wanted: HostPlace): Promise<Holder | undefined> {
  if (wanted.protocol === 'unix') return undefined;
  const { protocol, ip, port } = wanted;
  const rows = parseNetstat(await outputOf('netstat', ['-ano']));
  const [row] = rows
    .filter((each) => each.protocol === protocol && each.port === port && overlaps(ip, each.ip))
    .sort((a, b) => Number(b.listens) - Number(a.listens));
  if (row === undefined) return undefined;
  const { pid } = row;
  const tasks = await outputOf('tasklist', ['/fi', `PID eq ${pid}`, '/fo', 'csv', '/nh']);
  const command = plainName(parseTasklist(tasks, pid) ?? 'a process');
  return { where: formatEndpoint(row.ip, port), process: { pid, command }, user: undefined };
}

async function tcpListeners(): Promise<TcpListener[]> {
  const rows = parseNetstat(await outputOf('netstat', ['-ano']));
  return rows.filter(({ protocol, listens }) => protocol === 'tcp' && listens);
}

/** WSAEACCES is what Windows says of a port that another socket has for itself, or that is in an excluded range. */
async function whyDenied(wanted: WantedPort): Promise<string | undefined> {
  const { protocol, ip, port } = wanted;
  const family = ip.includes(':') ? 'ipv6' : 'ipv4';
  const show = ['interface', family, 'show', 'excludedportrange', `protocol=${protocol}`];
  const ranges = parseExcludedRanges(await outputOf('netsh', show));
  const range = ranges.find(({ first, last }) => first <= port && port <= last);
  if (range !== undefined)
    return `Windows keeps the ports ${range.first} to ${range.last} (netsh ${show.join(' ')} lists such ranges; Hyper-V and WSL reserve them at boot); take another port`;
  const holder = await findHolder(wanted);
  if (holder?.process === undefined) return undefined;
  const { command, pid } = holder.process;
  return `${command} (process ${pid}) has ${holder.where} for itself`;
}
