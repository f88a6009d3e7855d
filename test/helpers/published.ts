/** Containers that tests of a transport publish through the API of a host agent. */
import { expect } from 'vitest';
import { callApi } from './api.ts';
import { digestServer } from './digest-server.ts';
import { hostPort, loopback } from './processes.ts';
import { connectTo, readExactly, roundTrip } from './stream-client.ts';
import type { StreamServer } from './stream-server.ts';
import { tcpEcho } from './tcp-echo.ts';
import { digestOf, sendBytes } from './test-bytes.ts';

export class Published {
  private readonly api: string;
  private readonly containers: StreamServer[] = [];

  /** @param api of the host agent */
  constructor(api: string) {
    this.api = api;
  }

  /** Publishes a container that sends back what comes. @returns its host port */
  async echo(): Promise<number> {
    return this.publish(await tcpEcho());
  }

  /** A round trip, and an upload of so many bytes that is half-closed before its answer. */
  async check(bytes: number): Promise<void> {
    expect(await roundTrip(await this.echo(), 'hello')).toBe('hello');
    const upload = await connectTo(await this.publish(await digestServer()));
    sendBytes(upload, 1, bytes);
    expect((await readExactly(upload, 64)).toString()).toBe(digestOf(1, bytes));
  }

  async close(): Promise<void> {
    await Promise.all(this.containers.map((container) => container.close()));
  }

  private async publish(container: StreamServer): Promise<number> {
    this.containers.push(container);
    const { status, body } = await callApi(this.api, 'POST', { spec: loopback('tcp', container.port) });
    expect(status).toBe(201);
    return hostPort((body as { spec: string }).spec);
  }
}
