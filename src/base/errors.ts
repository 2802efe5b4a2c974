/**
 * A config.json (or a tokenizer or processor file beside it) cannot describe a model we know; the message names the
 * field.
 */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
}

/** What the caller handed over (image, prompt, option, path) cannot be used; the message names it and what to do. */
export class InputError extends Error {
  override readonly name = "InputError";
}

/** A backend is unknown, absent or cannot run here; the message says how to get it. */
export class BackendError extends Error {
  override readonly name = "BackendError";
}
