import { describe, expect, it } from 'vitest';
import { compareMemory, type Sample, slopeOf, toleranceOf } from '../../soak/figures.ts';

const MIB = 1024 * 1024;
const LONG = toleranceOf(150);
const SHORT = toleranceOf(15);

/** A sample each 250 ms. @param memory MiB at a second */
function samples(seconds: number, memory: (second: number) => number): Sample[] {
  return Array.from({ length: seconds * 4 }, (_, index) => ({
    at: index * 250,
    memory: memory(index / 4) * MIB,
    descriptors: 20,
  }));
}

/** As a collector has it: up and down, by whatever it likes. */
const sawtooth = (second: number): number => 100 + ((second * 7.3) % 12);

describe('memory of a soak', () => {
  it('is flat when it goes up and down', () => {
    expect(compareMemory('host', samples(125, sawtooth), LONG)).toMatch(/^host 10\d\.\d MiB -> 10\d\.\d MiB/);
    expect(Math.abs(slopeOf(samples(125, sawtooth)))).toBeLessThan(MIB);
  });

  it('may have grown once, early', () => {
    const early = (second: number): number => sawtooth(second) + (second > 20 ? 30 : 0);
    expect(() => compareMemory('host', samples(125, early), LONG)).not.toThrow();
  });

  it('that leaks fails: 20 MiB a minute in the long form, 500 in the short one', () => {
    const leak = (perMinute: number) => (second: number) => sawtooth(second) + (second / 60) * perMinute;
    expect(slopeOf(samples(125, leak(20)))).toBeCloseTo(20 * MIB, -6);
    expect(() => compareMemory('host', samples(125, leak(20)), LONG)).toThrow(
      /memory grows: host .* \(2\d{4} KiB a minute\)/,
    );
    expect(() => compareMemory('shim', samples(12, leak(500)), SHORT)).toThrow('memory grows: shim');
  });

  it('is held to less the longer it runs', () => {
    expect(LONG.bytes).toBeLessThan(SHORT.bytes);
  });
});
