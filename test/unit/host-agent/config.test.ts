import { describe, expect, it } from 'vitest';
import { hostConfig } from '../../../host-agent/config.ts';
import { shimConfig } from '../../../vm-shim/config.ts';

describe('host-agent options', () => {
  it('names VMs, the unnamed one "default"', () => {
    const config = hostConfig({ connect: ['a=unix:///a', 'unix:///b'], control: ['a=unix:///c'] });
    expect(config.connect.map(({ vm, address }) => [vm, address.url])).toEqual([
      ['a', 'unix:///a'],
      ['default', 'unix:///b'],
    ]);
    expect(config.control[0]!.vm).toBe('a');
    expect(config.lane).toBe('auto');
    expect(Object.isFrozen(config)).toBe(true);
  });

  it.each([
    [{}, /--connect <url>.*--listen <url>/],
    [{ connect: ['unix:///a', 'unix:///b'] }, /"default" has two URLs/],
    [{ connect: ['a=unix:///a'], listen: ['a=unix:///b'] }, /"a" has two URLs/],
    [{ connect: ['unix:///a'], control: ['b=unix:///c'] }, /VM "b", which has no/],
    [{ connect: ['what:///a'] }, /unknown scheme "what:"/],
    [{ connect: ['unix:///a'], lane: 'fast' }, /unknown lane "fast"/],
  ])('refuses %j', (options, why) => {
    expect(() => hostConfig(options)).toThrow(why);
  });
});

describe('vm-shim options', () => {
  it('takes exactly one of --listen and --connect', () => {
    expect(shimConfig({ listen: 'unix:///a' }).listen?.url).toBe('unix:///a');
    expect(() => shimConfig({})).toThrow(/either --listen/);
    expect(() => shimConfig({ listen: 'unix:///a', connect: 'unix:///b' })).toThrow(/either --listen/);
  });
});
