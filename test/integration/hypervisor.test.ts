/** The host agent reaches a shim through what hypervisors have on the host; the hypervisor is a stand-in. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';
import { callApi, listForwards } from '../helpers/api.ts';
import {
  hostPort,
  logLines,
  loopback,
  ONE_WORKER,
  ProcessGroup,
  type Running,
  until,
  untilLinked,
} from '../helpers/processes.ts';
import { connectTo, fateOf, readExactly, roundTrip } from '../helpers/stream-client.ts';
import { serveStreams } from '../helpers/stream-server.ts';
import { digestOf, receiveBytes, sendBytes } from '../helpers/test-bytes.ts';

const HYPERVISOR = fileURLToPath(new URL('../../dist/test/helpers/hypervisor-main.js', import.meta.url));
const TOTAL = 8_000_000;

let group: ProcessGroup | undefined;
afterEach(() => group?.close());

async function startHypervisor(kind: string, place: string, vmSocket: string): Promise<Running> {
  const running = group!.startNode(HYPERVISOR, kind, place, '5000', vmSocket);
  await until('the hypervisor', () => running.stdout().includes('ready'));
  return running;
}

const warnings = (running: Running) =>
  logLines(running.stderr())
    .map(({ msg }) => msg ?? '')
    .join('\n');

describe.each([
  ['firecracker', 'multiplexed', (dir: string) => ['vsock.sock', `hybrid://${dir}/vsock.sock?port=`, '5000']],
  ['hyperkit', 'dedicated', (dir: string) => ['.', `hyperkit://${dir}?cid=3&port=`, '5000']],
])('%s', (kind, lane, place) => {
  it(`carries connections on the ${lane} lane, and comes back after the VM did`, async () => {
    group = new ProcessGroup();
    const { dir } = group;
    const [at, url, port] = place(dir);
    const hostSide = join(dir, at!);
    const api = join(dir, 'api.sock');
    let shim = group.start('vm-shim', ...ONE_WORKER, '--listen', group.unixUrl('vm.sock'));
    let hypervisor = await startHypervisor(kind, hostSide, join(dir, 'vm.sock'));
    const host = group.start('host-agent', ...ONE_WORKER, '--connect', `${url}${port}`, '--api', api);
    const { vms } = await untilLinked(host, api);
    expect(vms[0]).toMatchObject({ lane });

    const container = await serveStreams((socket) => {
      socket.once('data', (first: Buffer) => {
        const word = first.toString('latin1', 0, 4);
        if (word === 'rst!') return void socket.resetAndDestroy();
        if (word !== 'bulk') return void socket.write(first);
        const received = receiveBytes(socket);
        socket.unshift(first.subarray(4));
        void received.then(({ digest }) => socket.end(digest));
      });
    });
    const { body } = await callApi(api, 'POST', { spec: loopback('tcp', container.port) });
    const published = hostPort((body as { spec: string }).spec);

    expect(await roundTrip(published, 'hello')).toBe('hello');
    // An upload that is half-closed and then answered: the lane keeps what the transport does not carry.
    const bulk = await connectTo(published);
    bulk.write('bulk');
    const answer = new Promise<string>((resolve) => {
      let text = '';
      bulk.on('data', (chunk: Buffer) => {
        text += chunk.toString('latin1');
      });
      bulk.on('end', () => resolve(text));
    });
    sendBytes(bulk, 1, TOTAL);
    expect(await answer).toBe(digestOf(1, TOTAL));
    const reset = await connectTo(published);
    reset.write('rst!');
    expect((await fateOf(reset)).how).toBe('ECONNRESET');

    // The VM goes and comes back.
    const open = await connectTo(published);
    open.write('open');
    await readExactly(open, 4);
    const fate = fateOf(open);
    await shim.kill('SIGKILL');
    await hypervisor.kill('SIGKILL');
    expect((await fate).how).toBe('ECONNRESET');
    rmSync(kind === 'hyperkit' ? join(dir, 'connect') : hostSide, { force: true });
    await until('the link to be down', async () => (await listForwards(api)).vms.every(({ up }) => !up));
    shim = group.start('vm-shim', ...ONE_WORKER, '--listen', group.unixUrl('vm.sock'));
    await until('the shim', () => shim.stderr().includes('the VM shim listens'));
    hypervisor = await startHypervisor(kind, hostSide, join(dir, 'vm.sock'));
    await untilLinked(host, api);
    expect(await roundTrip(published, 'again')).toBe('again');
    await container.close();
  });

  it('says what is wrong: nobody listens on that port, or no hypervisor is there', async () => {
    group = new ProcessGroup();
    const { dir } = group;
    const [at, url] = place(dir);
    const host = group.start('host-agent', ...ONE_WORKER, '--connect', `${url}5001`);
    await until('no hypervisor', () => warnings(host).includes('there is no such socket'));
    await startHypervisor(kind, join(dir, at!), join(dir, 'vm.sock'));
    await until('the refusal', () => warnings(host).includes('nobody listens on port 5001 in the VM'));
    expect(warnings(host)).toContain(`cannot connect to ${url}5001: `);
  });

  it('lets the VM dial', async () => {
    group = new ProcessGroup();
    const { dir } = group;
    const [, url, port] = place(dir);
    const api = join(dir, 'api.sock');
    const host = group.start('host-agent', ...ONE_WORKER, '--listen', `${url}${port}`, '--api', api);
    const path = kind === 'hyperkit' ? `${dir}/00000002.00001388` : `${dir}/vsock.sock_5000`;
    group.start('vm-shim', ...ONE_WORKER, '--connect', `unix://${path}`);
    const { vms } = await untilLinked(host, api);
    expect(vms[0]).toMatchObject({ lane });
  });
});
