import { describe, expect, it } from 'vitest';
import { type InetSpec, parseSpec } from '../../../shared/port-spec.ts';
import { endpointCount, endpointsFrom, isChoice, sharedEndpoint } from '../../../shared/ports/endpoints.ts';

const spec = (hosts: string, ports: string, vm = ports) =>
  parseSpec(`tcp:${hosts}:${ports}:tcp:10.0.0.1:${vm}`) as InetSpec;

it('endpoints are each port at each address', () => {
  const wanted = spec('127.0.0.1,[::1]', '0', '80-81');
  expect(endpointCount(wanted)).toBe(4);
  const ends = endpointsFrom(5000, wanted).map(({ ip, port, vmPort }) => [ip, port, vmPort]);
  expect(ends).toEqual([
    ['127.0.0.1', 5000, 80],
    ['::1', 5000, 80],
    ['127.0.0.1', 5001, 81],
    ['::1', 5001, 81],
  ]);
});

it('port 0, and a range that leads to one port, leave the choice to us', () => {
  expect(
    [spec('0.0.0.0', '0', '80-81'), spec('0.0.0.0', '80-90', '80'), spec('0.0.0.0', '80-90')].map(isChoice),
  ).toEqual([true, true, false]);
});

describe('sharedEndpoint', () => {
  it.each([
    [spec('127.0.0.1', '80'), spec('127.0.0.1', '80'), '127.0.0.1', 80],
    [spec('127.0.0.1', '80-90'), spec('127.0.0.1', '85-99'), '127.0.0.1', 85],
    [spec('127.0.0.1', '85-99'), spec('127.0.0.1', '80-90'), '127.0.0.1', 85],
    [spec('127.0.0.1,[::1]', '80'), spec('[::1]', '80'), '::1', 80],
    [spec('0.0.0.0', '80'), spec('10.0.0.1', '80'), '0.0.0.0', 80],
    [spec('10.0.0.1', '80'), spec('0.0.0.0', '80'), '10.0.0.1', 80],
  ])('case %#: %j and %j', (wanted, other, ip, port) => {
    expect(sharedEndpoint(wanted, other)).toEqual({ ip, port });
  });

  it.each([
    [spec('127.0.0.1', '80'), spec('127.0.0.1', '81')],
    [spec('127.0.0.1', '80-84'), spec('127.0.0.1', '85-99')],
    [spec('127.0.0.1', '80'), spec('127.0.0.2', '80')],
    [spec('0.0.0.0', '80'), spec('[::]', '80')],
    [spec('127.0.0.1', '80'), parseSpec('udp:127.0.0.1:80:udp:10.0.0.1:80') as InetSpec],
  ])('case %# has none: %j and %j', (wanted, other) => {
    expect(sharedEndpoint(wanted, other)).toBeUndefined();
  });
});
