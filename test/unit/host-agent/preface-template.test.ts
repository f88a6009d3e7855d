import { describe, expect, it } from 'vitest';
import { EarlyGuess } from '../../../host-agent/data/linux/early-guess.ts';
import { PrefaceTemplate } from '../../../host-agent/data/linux/preface-template.ts';
import { type Destination, encodeDestination } from '../../../shared/destination.ts';
import { encodeSockaddr } from '../../../shared/platform/linux/sockaddr.ts';
import { encodePreface } from '../../../shared/preface.ts';
import { encodeFields } from '../../../shared/stream-details.ts';

const streamKey = Buffer.alloc(16, 7);
const destinations: Destination[] = [
  { protocol: 'tcp', ip: '172.17.0.2', port: 80 },
  { protocol: 'tcp', ip: 'fd00::2', port: 65_535 },
  { protocol: 'unix', path: '/run/x.sock' },
];

describe.each(destinations)('a preface for %j', (destination) => {
  const fields = { keepalive: 30, flowIdle: 600 };
  const encoded = encodeDestination(destination);
  const template = new PrefaceTemplate(encoded, streamKey, encodeFields({}));
  const withFields = new PrefaceTemplate(encoded, streamKey, encodeFields(fields));
  const out = Buffer.alloc(8_192, 0xff);

  it.each([{ ip: '10.0.0.1', port: 513 }, { ip: 'fe80::1', port: 80 }, undefined])('from %j', (client) => {
    const peer = client === undefined ? Buffer.alloc(2) : encodeSockaddr({ family: 'ip', ...client });
    const length = template.write(out, 0xfffffffe, peer);
    const preface = { streamId: 0xfffffffe, streamKey, destination };
    const expected = encodePreface(client === undefined ? preface : { ...preface, client });
    expect(out.subarray(0, length).toString('hex')).toBe(expected.toString('hex'));
    const longer = withFields.write(out, 0xfffffffe, peer);
    const whole = encodePreface({ ...preface, ...fields, client });
    expect(out.subarray(0, longer).toString('hex')).toBe(whole.toString('hex'));
  });
});

it('a guess gives up what is in vain, and comes back to it', () => {
  const guess = new EarlyGuess();
  let tries = 0;
  for (let round = 0; round < 1_000; round++)
    if (guess.worthTrying()) {
      tries++;
      guess.learn(false);
    }
  expect(tries).toBeLessThan(100);
  while (!guess.worthTrying());
  guess.learn(true);
  expect(guess.worthTrying()).toBe(true);
});
