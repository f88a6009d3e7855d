/** A link over a serial port. The port is a pseudo-terminal, whose other end a stand-in for QEMU's chardev offers. */
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { listForwards } from '../helpers/api.ts';
import { whyNotLinux } from '../helpers/engines.ts';
import {
  logLines,
  ONE_WORKER,
  ProcessGroup,
  type Running,
  runPortferry,
  until,
  untilLinked,
} from '../helpers/processes.ts';
import type { PseudoTerminal } from '../helpers/pseudo-terminal.ts';
import { Published } from '../helpers/published.ts';
import { connectTo, fateOf, readExactly, roundTrip } from '../helpers/stream-client.ts';

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
  let group: ProcessGroup;
  let api: string;
  let terminal: PseudoTerminal;
  let chardev: Chardev;
  let shim: Running;
  let host: Running;
  let published: Published;

  const startShim = () => group.start('vm-shim', '--listen', `serial://${terminal.path}`);
  const startHost = () =>
    group.start(
      ...['host-agent', ...ONE_WORKER, '--api', api],
      ...['--connect', `serial+unix://${group.dir}/chardev`],
    );
  const linked = () => until('the link', async () => (await listForwards(api)).vms.every(({ up }) => up));

  beforeAll(async () => {
    group = new ProcessGroup();
    api = join(group.dir, 'api.sock');
    published = new Published(api);
    const { openPseudoTerminal } = await import('../helpers/pseudo-terminal.ts');
    terminal = openPseudoTerminal();
    chardev = new Chardev(join(group.dir, 'chardev'), terminal);
    terminal.output.write('login: \xf7pf\x01');
    shim = startShim();
    host = startHost();
    const { vms } = await untilLinked(host, api);
    expect(vms[0]).toMatchObject({ lane: 'multiplexed' });
  });
  afterAll(async () => {
    await group?.close();
    await published?.close();
    chardev?.server.close();
    terminal?.close();
  });

  it('carries connections, half-closes kept', async () => {
    await published.check(2_000_000);
  });

  it('comes back on the same descriptor when the host agent is another one, killed in the middle', async () => {
    const clients = await Promise.all([connectTo(await published.echo()), connectTo(await published.echo())]);
    for (const client of clients) client.write(Buffer.alloc(1_000_000, 'x'));
    await readExactly(clients[0]!, 1_000);
    await host.kill('SIGKILL');
    host = startHost();
    await untilLinked(host, api);
    expect(await roundTrip(await published.echo(), 'again')).toBe('again');
    expect(shim.child.exitCode).toBeNull();
  });

  it('comes back when the shim is another one; clients of the old one are reset', async () => {
    const port = await published.echo();
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
    const port = await published.echo();
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
