/** macOS tells by lsof(8), which shows the processes of other users to root only. Never run there. */
import type { HostPlace } from '../../errors.ts';
import { formatEndpoint } from '../../ip.ts';
import type { Holder, PortDiagnosis, TcpListener, WantedPort } from './diagnosis.ts';
import { localEnd, parseLsof } from './lsof.ts';
import { overlaps } from './overlap.ts';
import { outputOf } from './run-tool.ts';

const PRIVILEGED = 1024;

export const diagnosis: PortDiagnosis = { findHolder, whyDenied, tcpListeners };

async function findHolder(wanted: HostPlace): Promise<Holder | undefined> {
  if (wanted.protocol === 'unix') {
    const [file] = parseLsof(await outputOf('lsof', ['-nP', '-Fpcn', '--', wanted.path]));
    return file && { where: wanted.path, process: file, user: undefined };
  }
  const { protocol, ip, port } = wanted;
  // A dual-stack :: is IPv6 to lsof and takes IPv4 too.
  for (const six of ip.includes(':') ? [true] : [false, true]) {
    const what = `-i${six ? 6 : 4}${protocol.toUpperCase()}:${port}`;
    const listening = protocol === 'tcp' ? ['-sTCP:LISTEN'] : [];
    for (const file of parseLsof(await outputOf('lsof', ['-nP', what, ...listening, '-Fpcn']))) {
      const held = localEnd(file.name, six)?.ip;
      if (held !== undefined && overlaps(ip, held))
        return { where: formatEndpoint(held, port), process: file, user: undefined };
    }
  }
  return undefined;
}

async function tcpListeners(): Promise<TcpListener[]> {
  const files = parseLsof(await outputOf('lsof', ['-nP', '-iTCP', '-sTCP:LISTEN', '-Fptn']));
  return files.flatMap(({ pid, type, name }) => {
    const end = localEnd(name, type === 'IPv6');
    return end === undefined ? [] : [{ pid, ...end }];
  });
}

async function whyDenied({ protocol, ip, port }: WantedPort): Promise<string | undefined> {
  if (port >= PRIVILEGED) return undefined;
  const wildcard = ip.includes(':') ? '::' : '0.0.0.0';
  const otherwise = `take a port from ${PRIVILEGED} on`;
  // reserve-udp.ts binds each address of the wildcard by itself.
  if (protocol === 'udp')
    return `UDP ports below ${PRIVILEGED} are for root here: macOS gives them to any user at ${wildcard} only, and ours are taken address by address; ${otherwise}`;
  if (ip === wildcard) return `ports below ${PRIVILEGED} are for root here; ${otherwise}`;
  return `macOS gives ports below ${PRIVILEGED} to any user at ${wildcard}, and at one address to root only; --wildcard-privileged does that and answers only on the address that was asked for; or ${otherwise}`;
}
