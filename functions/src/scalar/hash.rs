//! The hash behind PostgreSQL's `hash*` functions: Bob Jenkins's lookup3. Applications shard and lock by its values.

const GOLDEN: u32 = 0x9e37_79b9;
const INITIAL: u32 = 3_923_095;

type State = [u32; 3];

fn mix([mut a, mut b, mut c]: State) -> State {
    for (first, second) in [(4, 6), (16, 19)] {
        a = a.wrapping_sub(c) ^ c.rotate_left(first);
        c = c.wrapping_add(b);
        b = b.wrapping_sub(a) ^ a.rotate_left(second);
        a = a.wrapping_add(c);
        let third = if first == 4 { 8 } else { 4 };
        c = c.wrapping_sub(b) ^ b.rotate_left(third);
        b = b.wrapping_add(a);
    }
    [a, b, c]
}

fn finish([mut a, mut b, mut c]: State) -> State {
    c = (c ^ b).wrapping_sub(b.rotate_left(14));
    a = (a ^ c).wrapping_sub(c.rotate_left(11));
    b = (b ^ a).wrapping_sub(a.rotate_left(25));
    c = (c ^ b).wrapping_sub(b.rotate_left(16));
    a = (a ^ c).wrapping_sub(c.rotate_left(4));
    b = (b ^ a).wrapping_sub(a.rotate_left(14));
    c = (c ^ b).wrapping_sub(b.rotate_left(24));
    [a, b, c]
}

fn start(length: u32, seed: i64) -> State {
    let initial = GOLDEN.wrapping_add(length).wrapping_add(INITIAL);
    let state = [initial; 3];
    if seed == 0 {
        return state;
    }
    mix([initial.wrapping_add((seed as u64 >> 32) as u32), initial.wrapping_add(seed as u32), initial])
}

fn hash(bytes: &[u8], seed: i64) -> State {
    let mut state = start(bytes.len() as u32, seed);
    let mut chunks = bytes.chunks_exact(12);
    let add = |state: &mut State, index: usize, word: u32| state[index] = state[index].wrapping_add(word);
    for chunk in chunks.by_ref() {
        for (index, word) in chunk.chunks_exact(4).enumerate() {
            add(&mut state, index, u32::from_le_bytes([word[0], word[1], word[2], word[3]]));
        }
        state = mix(state);
    }
    for (position, byte) in chunks.remainder().iter().enumerate() {
        // The lowest byte of the last word is kept for the length.
        let shift = if position < 8 { position % 4 } else { position - 7 };
        add(&mut state, position / 4, u32::from(*byte) << (8 * shift));
    }
    finish(state)
}

fn wide([_, b, c]: State) -> i64 {
    (u64::from(b) << 32 | u64::from(c)) as i64
}

pub fn hash_bytes(bytes: &[u8]) -> i32 {
    hash(bytes, 0)[2] as i32
}

pub fn hash_bytes_extended(bytes: &[u8], seed: i64) -> i64 {
    wide(hash(bytes, seed))
}

fn hash_word(value: u32, seed: i64) -> State {
    let [a, b, c] = start(4, seed);
    finish([a.wrapping_add(value), b, c])
}

pub fn hash_number(value: u32) -> i32 {
    hash_word(value, 0)[2] as i32
}

pub fn hash_number_extended(value: u32, seed: i64) -> i64 {
    wide(hash_word(value, seed))
}
