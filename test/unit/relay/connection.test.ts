import { describe, expect, it } from 'vitest';
import { BridgeError } from '../../../shared/errors.ts';
import { ChannelEnd } from '../../../shared/relay/channel-end.ts';
import { Connection } from '../../../shared/relay/connection.ts';
import type { End, EndHandler } from '../../../shared/relay/end.ts';

/** An end that notes what is done to it. */
class FakeEnd implements End {
  readonly calls: string[] = [];
  readonly backlog = 0;
  handler: EndHandler | undefined;

  attach(handler: EndHandler): void {
    this.handler = handler;
  }
  accept(): void {
    this.calls.push('accept');
  }
  refuse(): void {
    this.calls.push('refuse');
  }
  write(): boolean {
    return true;
  }
  end(): void {
    this.calls.push('end');
  }
  reset(): void {
    this.calls.push('reset');
    this.handler?.closed();
  }
  pause(): void {}
  resume(): void {
    this.calls.push('resume');
  }
}

describe('Connection', () => {
  it('resets the initiating side when the target was aborted before it was handed over', () => {
    const initiating = new FakeEnd();
    const over: Array<BridgeError | undefined> = [];
    const connection = new Connection(initiating, {
      counters: { bytesUp: 0, bytesDown: 0 },
      cancelDial() {},
      closed: (error) => over.push(error),
    });
    const target = new ChannelEnd();
    target.aborted(104);
    target.closed();
    connection.dialled(target);
    expect(initiating.calls.at(-1)).toBe('reset');
    expect(over.map((error) => error?.errno)).toEqual([104]);
  });

  it('resets a target that is reached when the connection is over', () => {
    const initiating = new FakeEnd();
    const connection = new Connection(initiating, {
      counters: { bytesUp: 0, bytesDown: 0 },
      cancelDial() {},
      closed() {},
    });
    connection.stop(new BridgeError('CANCELLED', 'test'));
    const target = new FakeEnd();
    connection.dialled(target);
    expect([initiating.calls, target.calls]).toEqual([['refuse'], ['reset']]);
  });
});
