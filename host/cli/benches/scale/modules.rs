//! As many different policy modules as a case needs.

/// The same module with other bytes: a custom section with a text, which nothing reads.
pub fn distinct(module: &[u8], text: &str) -> Vec<u8> {
    const NAME: &[u8] = b"bench";
    let length = u8::try_from(1 + NAME.len() + text.len()).ok().filter(|length| *length < 0x80);
    let mut bytes = module.to_vec();
    bytes.extend([0, length.expect("a text that fits a length of one byte"), NAME.len() as u8]);
    bytes.extend(NAME);
    bytes.extend(text.as_bytes());
    bytes
}
