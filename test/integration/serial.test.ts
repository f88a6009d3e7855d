/** A link over a serial port. The port is a pseudo-terminal, whose other end a stand-in for QEMU's chardev offers. */
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { callApi, listForwards } from '../helpers/api.ts';
import { whyNotLinux } from '../helpers/engines.ts';
import {
  hostPort,
  logLines,
  loopback,
  ProcessGroup,
  type Running,
  runPortferry,
  until,
  untilLinked,
} from '../helpers/processes.ts';
import type { PseudoTerminal } from '../helpers/pseudo-terminal.ts';
import { connectTo, fateOf, readExactly, roundTrip } from '../helpers/stream-client.ts';
import { type StreamServer, serveStreams } from '../helpers/stream-server.ts';
import { digestOf, receiveBytes, sendBytes } from '../helpers/test-bytes.ts';

const TOTAL = 2_000_000;

/** One client at a time, as QEMU has it. What the VM wrote last while nobody was there reaches the next client. */
class Chardev {
  readonly server: Server;
  client: Socket | undefined;
  private stale = Buffer.alloc(0);

  constructor(path: string, terminal: PseudoTerminal) {
    terminal.input.on('data', (chunk: Buffer) => {
      if (this.client !== undefined) this.client.write(chunk);
      else this.stale = Buffer.concat([this.stale, chunk]).subarray(-1_000);
    });
    this.server = createServer((client) => {
      this.client?.destroy();
      this.client = client;
      client.on('error', () => {});
      client.on('close', () => {
        if (this.client === client) this.client = undefined;
      });
      client.write(this.stale);
      client.on('data', (chunk: Buffer) => terminal.output.write(chunk));
    }).listen(path);
  }
}

describe.skipIf(whyNotLinux !== undefined)('serial:', () => {
  const group = new ProcessGroup();
  const api = join(group.dir, 'api.sock');
  const url = `serial+unix://${group.dir}/chardev`;
  let terminal: PseudoTerminal;
  let chardev: Chardev;
  let shim: Running;
  let host: Running;
  let echo: StreamServer;
  let digest: StreamServer;

  const startShim = () => group.start('vm-shim', '--listen', `serial://${terminal.path}`);
  const startHost = () => group.start('host-agent', '--connect', url, '--api', api);
  const linked = () => until('the link', async () => (await listForwards(api)).vms.every(({ up }) => up));

  beforeAll(async () => {
    const { openPseudoTerminal } = await import('../helpers/pseudo-terminal.ts');
    terminal = openPseudoTerminal();
    chardev = new Chardev(join(group.dir, 'chardev'), terminal);
    terminal.output.write('login: \xf7pf\x01');
    shim = startShim();
    host = startHost();
    const { vms } = await untilLinked(host, api);
    expect(vms[0]).toMatchObject({ lane: 'multiplexed' });
    echo = await serveStreams((socket) => socket.pipe(socket));
    digest = await serveStreams((socket) => {
      void receiveBytes(socket).then(({ digest }) => socket.end(digest));
    });
  });
  afterAll(async () => {
    await group.close();
    await echo?.close();
    await digest?.close();
    chardev?.server.close();
    terminal?.close();
  });

  async function publish(container: StreamServer): Promise<number> {
    const { body } = await callApi(api, 'POST', { spec: loopback('tcp', container.port) });
    return hostPort((body as { spec: string }).spec);
  }

  it('carries connections, half-closes kept', async () => {
    expect(await roundTrip(await publish(echo), 'hello')).toBe('hello');
    const upload = await connectTo(await publish(digest));
    sendBytes(upload, 1, TOTAL);
    expect((await readExactly(upload, 64)).toString()).toBe(digestOf(1, TOTAL));
  });

  it('comes back on the same descriptor when the host agent is another one, killed in the middle', async () => {
    const clients = await Promise.all([connectTo(await publish(echo)), connectTo(await publish(echo))]);
    for (const client of clients) client.write(Buffer.alloc(1_000_000, 'x'));
    await readExactly(clients[0]!, 1_000);
    await host.kill('SIGKILL');
    host = startHost();
    await untilLinked(host, api);
    expect(await roundTrip(await publish(echo), 'again')).toBe('again');
    expect(shim.child.exitCode).toBeNull();
  });

  it('comes back when the shim is another one; clients of the old one are reset', async () => {
    const port = await publish(echo);
    const open = await connectTo(port);
    open.write('open');
    await readExactly(open, 4);
    const fate = fateOf(open);
    await shim.kill('SIGKILL');
    shim = startShim();
    expect((await fate).how).toBe('ECONNRESET');
    await linked();
    expect(await roundTrip(port, 'again')).toBe('again');
  });

  it('the hypervisor ends: the host agent goes on, and dials the next one', async () => {
    const port = await publish(echo);
    const open = await connectTo(port);
    open.write('open');
    await readExactly(open, 4);
    const fate = fateOf(open);
    chardev.client!.destroy();
    expect((await fate).how).toBe('ECONNRESET');
    await linked();
    expect(await roundTrip(port, 'again')).toBe('again');
    expect(host.child.exitCode).toBeNull();
  });

  it('both stop, and the shim tells the host agent', async () => {
    const downs = () => logLines(host.stderr()).filter(({ msg }) => msg?.startsWith('link is down') === true);
    const before = downs().length;
    expect(await shim.kill()).toBe(0);
    const lines = await until('the host agent to hear', () => downs().length > before && downs());
    expect(lines.at(-1)!.msg).toContain('has ended the session');
    expect(await host.kill()).toBe(0);
  });

  it('a device that is not there is named', async () => {
    const { code, stderr } = await runPortferry('vm-shim', '--listen', 'serial:///dev/virtio-ports/none');
    expect([code, stderr]).toEqual([1, expect.stringContaining('has the VM a virtserialport of that name?')]);
  });
});
