//! POSIX ACLs: the kernel's binary form to and from the text that archives carry (`SCHILY.acl.*`).

const VERSION: [u8; 4] = [2, 0, 0, 0];
const USER_OBJ: u16 = 1;
const USER: u16 = 2;
const GROUP_OBJ: u16 = 4;
const GROUP: u16 = 8;
const MASK: u16 = 16;
const OTHER: u16 = 32;
const NOBODY: u32 = u32::MAX;

/// The text of an ACL with numeric ids; `None` for what is no ACL.
pub(crate) fn to_text(binary: &[u8]) -> Option<String> {
    let rows = binary.strip_prefix(&VERSION)?;
    if rows.len() % 8 != 0 {
        return None;
    }
    let mut text = Vec::new();
    for row in rows.chunks_exact(8) {
        let tag = u16::from_le_bytes([row[0], row[1]]);
        let permissions = u16::from_le_bytes([row[2], row[3]]);
        let id = u32::from_le_bytes([row[4], row[5], row[6], row[7]]);
        let (name, qualifier) = match tag {
            USER_OBJ => ("user", String::new()),
            USER => ("user", id.to_string()),
            GROUP_OBJ => ("group", String::new()),
            GROUP => ("group", id.to_string()),
            MASK => ("mask", String::new()),
            OTHER => ("other", String::new()),
            _ => return None,
        };
        let bit = |mask: u16, letter: char| if permissions & mask != 0 { letter } else { '-' };
        text.push(format!(
            "{name}:{qualifier}:{}{}{}",
            bit(4, 'r'),
            bit(2, 'w'),
            bit(1, 'x')
        ));
    }
    Some(text.join(","))
}

/// The binary form of a text. `None` for malformed text, and when it names users or groups without a number: whose names
/// these are cannot be known.
pub(crate) fn from_text(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?;
    let mut rows: Vec<(u16, u32, u16)> = Vec::new();
    for row in text
        .split([',', '\n'])
        .map(str::trim)
        .filter(|row| !row.is_empty())
    {
        let fields: Vec<&str> = row.split(':').map(str::trim).collect();
        let (name, qualifier, permissions, number) = match fields.as_slice() {
            [name, permissions] => (*name, "", *permissions, ""),
            [name, qualifier, permissions] => (*name, *qualifier, *permissions, ""),
            [name, qualifier, permissions, number] => (*name, *qualifier, *permissions, *number),
            _ => return None,
        };
        let id = if qualifier.is_empty() {
            None
        } else {
            Some(number.parse().or_else(|_| qualifier.parse::<u32>()).ok()?)
        };
        let tag = match (name, id) {
            ("user" | "u", None) => USER_OBJ,
            ("user" | "u", Some(_)) => USER,
            ("group" | "g", None) => GROUP_OBJ,
            ("group" | "g", Some(_)) => GROUP,
            ("mask" | "m", None) => MASK,
            ("other" | "o", None) => OTHER,
            _ => return None,
        };
        let mut bits = 0;
        // What follows a blank is a comment about effective permissions.
        for letter in permissions.split(['\t', ' ', '#']).next()?.chars() {
            bits |= match letter {
                'r' => 4,
                'w' => 2,
                'x' => 1,
                '-' => 0,
                _ => return None,
            };
        }
        rows.push((tag, id.unwrap_or(NOBODY), bits));
    }
    if rows.is_empty() {
        return None;
    }
    // The kernel wants them in this order.
    rows.sort_unstable();
    let mut binary = VERSION.to_vec();
    for (tag, id, bits) in rows {
        binary.extend_from_slice(&tag.to_le_bytes());
        binary.extend_from_slice(&bits.to_le_bytes());
        binary.extend_from_slice(&id.to_le_bytes());
    }
    Some(binary)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_binary() {
        let text = "user::rw-,user:1000:r-x,group::r--,group:5:---,mask::rwx,other::---";
        let binary = from_text(text.as_bytes()).unwrap();
        assert_eq!(to_text(&binary).as_deref(), Some(text));
        let shuffled = "other::---\nmask::rwx\ngroup::r--\nu::rw-\nuser:lisa:r-x:1000\ng:5:--- #effective:---\n";
        assert_eq!(from_text(shuffled.as_bytes()).unwrap(), binary);
        for wrong in [
            "",
            "user:lisa:rwx",
            "user::rwz",
            "mask:3:rwx",
            "x::rwx",
            "user",
        ] {
            assert_eq!(from_text(wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(to_text(&[1, 0, 0, 0]), None);
        assert_eq!(to_text(&[2, 0, 0, 0, 1]), None);
    }
}
