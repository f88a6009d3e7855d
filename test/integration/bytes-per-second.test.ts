/** `bytes-per-second` of a configuration file, with a second VM that has no such limit. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { callApi } from '../helpers/api.ts';
import { digestServer } from '../helpers/digest-server.ts';
import { lanesAndEngines } from '../helpers/engines.ts';
import {
  hostPort,
  logLines,
  loopback,
  ProcessGroup,
  type Running,
  unixSpec,
  until,
  untilLinked,
} from '../helpers/processes.ts';
import { connectTo, readAll } from '../helpers/stream-client.ts';
import { type StreamServer, serveStreams } from '../helpers/stream-server.ts';
import { digestOf, sendBytes } from '../helpers/test-bytes.ts';

const PER_SECOND = 200_000;

/** A host agent with the VMs `a` and `b`, and a container that answers with the SHA-256 of what it was sent. */
class TwoVms {
  readonly group = new ProcessGroup();
  readonly api = join(this.group.dir, 'api.sock');
  private readonly file = join(this.group.dir, 'portferry.toml');
  container!: StreamServer;
  private host!: Running;

  async start(lane: string, engine: string, ...policy: string[]): Promise<void> {
    const { group, api, file } = this;
    this.container = await digestServer();
    this.write(...policy);
    const connect: string[] = [];
    for (const vm of ['a', 'b']) {
      group.start('vm-shim', '--listen', group.unixUrl(vm), '--engine', 'portable');
      connect.push('--connect', `${vm}=${group.unixUrl(vm)}`);
    }
    const options = ['--config', file, '--api', api, '--lane', lane, '--engine', engine];
    this.host = group.start('host-agent', ...connect, ...options);
    const { vms } = await untilLinked(this.host, api);
    expect(vms.map((each) => each.lane)).toEqual([lane, lane]);
  }

  /** @returns the host port, where it has one */
  async expose(vm: string, spec: string): Promise<number> {
    const { status, body } = await callApi(this.api, 'POST', { spec, vm });
    expect(status).toBe(201);
    return hostPort((body as { spec: string }).spec);
  }

  /** Has another policy of the first VM hold. */
  async reload(...policy: string[]): Promise<void> {
    const reloads = (): number =>
      logLines(this.host.stderr()).filter(({ msg }) => msg === 'the policy was read again').length;
    const before = reloads();
    this.write(...policy);
    this.host.child.kill('SIGHUP');
    await until('the policy to be read', () => reloads() > before);
  }

  async close(): Promise<void> {
    await this.group.close();
    await this.container?.close();
  }

  private write(...policy: string[]): void {
    const lines = ['[vm.a.policy]', `unix-directories = ["${this.group.dir}"]`, ...policy];
    writeFileSync(this.file, `${lines.join('\n')}\n`);
  }
}

/** Sends so many bytes. @returns the digest that the container answers, and how long that took, seconds */
async function transfer(where: number | string, bytes: number): Promise<{ digest: string; seconds: number }> {
  const began = performance.now();
  const socket = await connectTo(where);
  sendBytes(socket, bytes, bytes);
  const digest = (await readAll(socket)).toString();
  return { digest, seconds: (performance.now() - began) / 1_000 };
}

describe.concurrent('a limit of bytes a second', () => {
  it.each(lanesAndEngines)('on the %s lane of the %s engine', async (lane, engine) => {
    const vms = new TwoVms();
    try {
      await vms.start(lane, engine, `bytes-per-second = ${PER_SECOND}`);
      const inside = loopback('tcp', vms.container.port);
      const [limited, other] = [await vms.expose('a', inside), await vms.expose('b', inside)];
      await holds(vms, limited);
      await changes(vms, limited, other);
    } finally {
      await vms.close();
    }
  });
});

/** Over TCP and a unix socket at once. */
async function holds(vms: TwoVms, port: number): Promise<void> {
  const [published, inside] = [join(vms.group.dir, 'published.sock'), join(vms.group.dir, 'inside.sock')];
  const echo = await serveStreams((socket) => void socket.pipe(socket), inside);
  try {
    await vms.expose('a', unixSpec(published, inside));
    const client = await connectTo(published);
    const message = Buffer.alloc(PER_SECOND / 10, 'x');
    const bytes = PER_SECOND;
    const began = performance.now();
    const [sent, echoed] = await Promise.all([
      transfer(port, bytes),
      readAll(client),
      new Promise<void>((resolve) => void client.end(message, resolve)),
    ]);
    const seconds = (performance.now() - began) / 1_000;
    expect(sent.digest).toBe(digestOf(bytes, bytes));
    expect(echoed.equals(message)).toBe(true);
    // There and back; a tenth of a second is free.
    expect(seconds).toBeGreaterThan((bytes + 2 * message.length) / PER_SECOND - 0.1);
  } finally {
    await echo.close();
  }
}

/** One that would take a minute and a half does not when there is no limit any more; then there is one again. */
async function changes(vms: TwoVms, limited: number, other: number): Promise<void> {
  const [long, short] = [18_000_000, 5_000_000];
  let ended = false;
  const lifted = transfer(limited, long).finally(() => {
    ended = true;
  });
  await until('some of it to be there', () => [...vms.container.sockets].some((each) => each.bytesRead > 0));
  expect((await transfer(other, short)).digest).toBe(digestOf(short, short));
  expect(ended).toBe(false);
  await vms.reload();
  expect((await lifted).digest).toBe(digestOf(long, long));

  await vms.reload(`bytes-per-second = ${PER_SECOND}`);
  expect((await transfer(limited, PER_SECOND / 2)).seconds).toBeGreaterThan(0.4);
}
