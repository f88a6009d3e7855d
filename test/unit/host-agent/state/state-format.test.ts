import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeState, encodeState } from '../../../../host-agent/control/state/state-format.ts';

const FORWARDS = [
  { spec: 'tcp:127.0.0.1:8080:tcp:172.17.0.2:80', vm: 'default' },
  { spec: 'udp:[::1]:53:udp:[fd00::2]:53', vm: 'b' },
];

/** A file of any version whose checksum is right. */
function sealed(version: number, body: string): Buffer {
  const sum = createHash('sha256').update(`portferry-state ${version}\n`).update(body).digest('hex');
  return Buffer.from(`portferry-state ${version} sha256 ${sum}\n${body}`);
}

describe('the text of a state file', () => {
  it('comes back as it was written', () => {
    fc.assert(
      fc.property(fc.array(fc.record({ spec: fc.string(), vm: fc.string() })), (forwards) => {
        expect(decodeState(encodeState(forwards))).toEqual({ forwards });
      }),
    );
  });

  it('can be read by people', () => {
    expect(encodeState(FORWARDS).toString().split('\n').slice(1)).toEqual([
      '{"forwards":[',
      '{"spec":"tcp:127.0.0.1:8080:tcp:172.17.0.2:80","vm":"default"},',
      '{"spec":"udp:[::1]:53:udp:[fd00::2]:53","vm":"b"}',
      ']}',
      '',
    ]);
  });

  it('is damaged when it is cut off, wherever', () => {
    const whole = encodeState(FORWARDS);
    for (let length = 0; length < whole.length; length++)
      expect(decodeState(whole.subarray(0, length)), `${length} bytes`).toHaveProperty('damaged');
  });

  it('is damaged when any byte is another, or bytes were added', () => {
    const whole = encodeState(FORWARDS);
    for (let position = 0; position < whole.length; position++)
      for (const flip of [0x01, 0x03, 0x20, 0xff]) {
        const changed = Buffer.from(whole);
        changed[position]! ^= flip;
        expect(decodeState(changed), `byte ${position}`).toHaveProperty('damaged');
      }
    expect(decodeState(Buffer.concat([whole, Buffer.from('\n')]))).toHaveProperty('damaged');
  });

  it.each([
    '',
    '{}',
    'null',
    '[]',
    '{"forwards":{}}',
    '{"forwards":[{"spec":1,"vm":"a"}]}',
    '{"forwards":[null]}',
  ])('is damaged when it holds %j', (body) => {
    expect(decodeState(sealed(1, body))).toHaveProperty('damaged');
  });

  it('of a later version is refused, not damaged', () => {
    expect(() => decodeState(sealed(2, '{"anything":true}'))).toThrow(
      /of version 2, this portferry knows version 1/,
    );
  });

  it('never makes the decoder throw anything else', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        expect(decodeState(Buffer.from(bytes))).toHaveProperty('damaged');
      }),
    );
  });
});
