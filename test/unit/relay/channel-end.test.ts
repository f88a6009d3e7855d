import { describe, expect, it } from 'vitest';
import { BridgeError } from '../../../shared/errors.ts';
import { ChannelEnd } from '../../../shared/relay/channel-end.ts';

function make(copies = false) {
  const calls: string[] = [];
  const events: string[] = [];
  const end = new ChannelEnd(copies);
  end.bind({
    write: (chunk) => calls.push(`write ${chunk}`) > 0,
    end: () => void calls.push('end'),
    accept: () => void calls.push('accept'),
    refuse: (errno) => void calls.push(`refuse ${errno}`),
    reset: (errno) => void calls.push(`reset ${errno}`),
    consumed: (bytes) => void calls.push(`consumed ${bytes}`),
    writableLength: 5,
  });
  const attach = () =>
    end.attach({
      data: (chunk) => void events.push(`data ${chunk}`),
      ended: () => void events.push('ended'),
      reset: (error) => void events.push(`reset ${error.errno}`),
      drained: () => void events.push('drained'),
      closed: () => void events.push('closed'),
    });
  return { end, calls, events, attach };
}

const reason = new BridgeError('RESET', 'test');

describe('ChannelEnd', () => {
  it('holds what comes while paused, and gives credit only for what it passed on', () => {
    const { end, calls, events, attach } = make();
    attach();
    end.data(Buffer.from('one'));
    end.data(Buffer.from('two'));
    end.ended();
    end.closed();
    expect([events, calls]).toEqual([[], []]);
    end.resume();
    expect(events).toEqual(['data one', 'data two', 'ended', 'closed']);
    expect(calls).toEqual(['consumed 3', 'consumed 3']);
  });

  it('can be paused by the handler in the middle of what it held', () => {
    const { end, events } = make();
    end.attach({
      data: (chunk) => {
        events.push(`data ${chunk}`);
        end.pause();
      },
      ended: () => void events.push('ended'),
      reset() {},
      drained() {},
      closed: () => void events.push('closed'),
    });
    end.data(Buffer.from('one'));
    end.data(Buffer.from('two'));
    end.ended();
    end.resume();
    expect(events).toEqual(['data one']);
    end.resume();
    expect(events).toEqual(['data one', 'data two']);
    end.resume();
    expect(events).toEqual(['data one', 'data two', 'ended']);
  });

  it('an abort by the peer overtakes what is held, and its credit goes back', () => {
    const { end, calls, events, attach } = make();
    attach();
    end.data(Buffer.from('held'));
    end.aborted(104);
    end.closed();
    end.resume();
    expect(events).toEqual(['reset 104', 'closed']);
    expect(calls).toEqual(['consumed 4']);
  });

  it('says what happened before anybody was attached', () => {
    const { end, events, attach } = make();
    end.aborted(104);
    end.closed();
    attach();
    expect(events).toEqual(['reset 104', 'closed']);
  });

  it('says no more after a reset of our own but closed', () => {
    const { end, calls, events, attach } = make();
    attach();
    end.resume();
    end.reset(reason);
    end.reset(reason);
    end.data(Buffer.from('late'));
    end.ended();
    end.drained();
    end.aborted(1);
    end.closed();
    end.end();
    expect(end.write(Buffer.from('x'))).toBe(true);
    expect(events).toEqual(['closed']);
    expect(calls).toEqual(['reset 104', 'consumed 4']);
  });

  it('refuses with the errno of the reason', () => {
    const { end, calls, events, attach } = make();
    attach();
    end.refuse(new BridgeError('DIAL_REFUSED', 'test'));
    expect(calls).toEqual(['refuse 111']);
    expect(events).toEqual(['closed']);
    expect(end.backlog).toBe(5);
  });

  it('gives the credit of what found no room when there is room again, or when it is given up', () => {
    for (const finish of ['resume', 'reset'] as const) {
      const { end, calls } = make();
      end.attach({ data: () => end.pause(), ended() {}, reset() {}, drained() {}, closed() {} });
      end.resume();
      end.data(Buffer.from('one'));
      expect(calls).toEqual([]);
      if (finish === 'resume') end.resume();
      else end.reset(reason);
      expect(calls).toContain('consumed 3');
    }
  });

  it('copies what it holds where the memory is used again', () => {
    const { end, events, attach } = make(true);
    attach();
    const memory = Buffer.from('one');
    end.data(memory);
    memory.fill('x');
    end.resume();
    expect(events).toEqual(['data one']);
  });
});
