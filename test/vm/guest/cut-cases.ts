/**
 * A link that is cut without a word to either side: its packets are dropped. Of the transports only TCP has any; it is
 * for loopback, so both sides are in one namespace, and reached by paths.
 */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { callApi, listForwards } from '../../helpers/api.ts';
import { unixSpec, until } from '../../helpers/processes.ts';
import { connectTo, readExactly, roundTrip } from '../../helpers/stream-client.ts';
import { tcpEcho } from '../../helpers/tcp-echo.ts';
import { type Cases, same, WAIT_MS } from '../cases.ts';
import { mustRun, said } from '../programs.ts';
import type { Namespace } from './namespace.ts';

const PORT = 6_201;
const BEAT = ['--heartbeat', '1'];
const DEAD = 'link is down: the peer was silent for 3 s';
/** More than the kernel takes of a connection before it waits for the other side. */
const BLOCK = randomBytes(4_000_000);

export async function cutCases(cases: Cases, vm: Namespace, folder: string): Promise<void> {
  const [api, path, container] = ['api', 'client', 'container'].map((name) =>
    join(folder, `cut-${name}.sock`),
  ) as [string, string, string];
  const url = `tcp://127.0.0.1:${PORT}`;
  const publish = ['--api', api, '--unix-directory', folder];
  const echo = await tcpEcho(container);
  const shim = vm.startPortferry('vm-shim', '--listen', url, ...BEAT);
  const host = vm.startPortferry('host-agent', '--connect', url, ...publish, ...BEAT);
  try {
    await said(host, 'link is up'); // asking the API all the time would take the processor that starting needs
    same(
      (await callApi(api, 'POST', { spec: unixSpec(path, container) })).status,
      201,
      'the answer of the API',
    );
    const client = await connectTo(path);
    client.write('before');
    same((await readExactly(client, 6)).toString(), 'before', 'the echo');
    const cut = await cases.case('over TCP: packets are dropped: each side gives the link up', async () => {
      await filter(vm, '-A');
      client.write(BLOCK);
      await Promise.all([said(host, DEAD), said(shim, DEAD)]);
      const down = async () => (await listForwards(api)).vms[0]!.up === false;
      await until('the link to be down', down, WAIT_MS);
      same(client.destroyed, false, 'whether the client is gone');
    });
    if (!cut) return;
    await cases.case(
      'over TCP: packets pass again: the connection goes on, every byte is there',
      async () => {
        await filter(vm, '-D');
        const answer = await readExactly(client, BLOCK.length);
        same(answer.equals(BLOCK), true, 'whether the bytes are the same');
        const works = () => roundTrip(path, 'here').catch(() => false as const);
        await until('the forward to work', works, WAIT_MS);
      },
    );
    client.destroy();
  } finally {
    await Promise.all([host.kill('SIGKILL'), shim.kill('SIGKILL')]);
    await echo.close();
  }
}

/** Adds or removes rules that drop what goes to and comes from the shim. */
async function filter(vm: Namespace, action: '-A' | '-D'): Promise<void> {
  for (const end of ['--dport', '--sport'])
    await mustRun(...vm.command('iptables', action, 'INPUT', '-p', 'tcp', end, `${PORT}`, '-j', 'DROP'));
}
