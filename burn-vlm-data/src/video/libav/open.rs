//! Opening a file with limits for what looks at it: the wrapper has no way to give them.

use super::av;
use av::Dictionary;
use av::ffi::{AVDictionary, avformat_find_stream_info, avformat_open_input};
use av::format::context::Input;
use std::ffi::CString;
use std::ptr::{null, null_mut};

/// Opens a file and looks at its first packets. `container` are options of what takes it apart, `decoder` of what decodes a frame where
/// nothing else says what the frames are like.
#[allow(unsafe_code)]
pub(super) fn open(path: CString, container: Dictionary<'_>, decoder: &[(&str, &str)]) -> Result<Input, av::Error> {
    let check = |code: i32| if code < 0 { Err(av::Error::from(code)) } else { Ok(()) };
    let mut pointer = null_mut();
    // SAFETY: the name ends with a zero, and what is left of the options comes back to be freed. A file that cannot be opened is none: its
    // pointer stays null. What is open is the wrapper's from then on, which closes it.
    let input = unsafe {
        let mut options = container.disown();
        let opened = avformat_open_input(&mut pointer, path.as_ptr(), null(), &mut options);
        drop(Dictionary::own(options));
        check(opened)?;
        Input::wrap(pointer)
    };
    // SAFETY: one list of options for each stream that there is now, as is asked for; each comes back to be freed.
    let looked = unsafe {
        let streams = (*pointer).nb_streams as usize;
        let options = || -> *mut AVDictionary { decoder.iter().copied().collect::<Dictionary<'_>>().disown() };
        let mut each: Vec<*mut AVDictionary> = (0..streams).map(|_| options()).collect();
        let looked = avformat_find_stream_info(pointer, each.as_mut_ptr());
        each.into_iter().for_each(|options| drop(Dictionary::own(options)));
        looked
    };
    check(looked)?;
    Ok(input)
}
