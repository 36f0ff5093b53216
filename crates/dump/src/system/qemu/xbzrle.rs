//! Pages as the difference to what they were (XBZRLE).
//!
//! Folklore (migration/xbzrle.c): lengths in LEB128 in turn: so many bytes stay, so many bytes follow and are new. What the
//! end leaves over stays.

/// Makes the difference to a page; `None` where it is broken.
pub(super) fn apply(page: &mut [u8], delta: &[u8]) -> Option<()> {
    let mut from = 0;
    let mut to = 0usize;
    while from < delta.len() {
        to = to.checked_add(length(delta, &mut from)?)?;
        let new = length(delta, &mut from)?;
        let bytes = delta.get(from..from.checked_add(new)?)?;
        page.get_mut(to..to.checked_add(new)?)?.copy_from_slice(bytes);
        from += new;
        to += new;
    }
    Some(())
}

/// One or two bytes.
fn length(bytes: &[u8], at: &mut usize) -> Option<usize> {
    let first = usize::from(*bytes.get(*at)?);
    *at += 1;
    if first & 0x80 == 0 {
        return Some(first);
    }
    let second = usize::from(*bytes.get(*at)?);
    *at += 1;
    (second & 0x80 == 0).then_some(first & 0x7f | second << 7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences() {
        let mut page = [1u8; 300];
        // 3 stay, 2 are new, 200 (0xc8 0x01) stay, 1 is new.
        apply(&mut page, &[3, 2, 7, 8, 0xc8, 1, 1, 9]).unwrap();
        assert_eq!(page[..6], [1, 1, 1, 7, 8, 1]);
        assert_eq!(page[205], 9);
        assert_eq!(page.iter().filter(|&&b| b != 1).count(), 3);
        assert!(apply(&mut page, &[0xff, 1, 1, 1, 0x7f, 0x7f]).is_none());
        assert!(apply(&mut page, &[1]).is_none());
    }
}
