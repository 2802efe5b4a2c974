import type * as tf from "@tensorflow/tfjs";

/** Shows an intermediate to whoever listens; returns it, or what they put in its place. */
export interface Tap {
  (name: string, value: tf.Tensor): tf.Tensor;
  /** Whether a name is listened to. Without this function, every name is. */
  readonly wants?: (name: string) => boolean;
}

/** Nobody listens: the value passes through untouched. */
export const noTap: Tap = (_name, value) => value;

/** The tap of a part: prefixes `path` to every name that the part shows. Without a listener it stays `noTap`. */
export function tapAt(tap: Tap, path: string): Tap {
  if (tap === noTap) return noTap;
  const { wants } = tap;
  const prefixed = (name: string, value: tf.Tensor) => tap(`${path}.${name}`, value);
  return wants ? Object.assign(prefixed, { wants: (name: string) => wants(`${path}.${name}`) }) : prefixed;
}

/** A tap that shows each activation to several in turn: each sees what the one before has made of it. None: `noTap`. */
export function inTurn(...taps: (Tap | null)[]): Tap {
  const present = taps.filter((tap) => tap !== null && tap !== noTap) as Tap[];
  if (present.length < 2) return present[0] ?? noTap;
  const all: Tap = (name, value) =>
    present.reduce((current, tap) => (listens(tap, name) ? tap(name, current) : current), value);
  return present.some((tap) => tap.wants === undefined)
    ? all
    : Object.assign(all, { wants: (name: string) => present.some((tap) => listens(tap, name)) });
}

/** Whether anybody listens to one of the names. Nobody does: then what they name need not exist. */
export const listens = (tap: Tap, ...names: string[]): boolean =>
  tap !== noTap && (tap.wants === undefined || names.some(tap.wants));
