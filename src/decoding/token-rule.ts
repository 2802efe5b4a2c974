/** What a row holds so far: the prompt's ids without pads, and what has been generated of at most `limit` tokens. */
export type History = { prompt: readonly number[]; generated: readonly number[]; limit: number };

/** Changes the scores [V] of one row's next token in place; -Infinity forbids a token. */
export type TokenRule = (scores: Float32Array, history: History) => void;
