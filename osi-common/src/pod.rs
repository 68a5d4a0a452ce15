//! How a struct becomes shareable with the kernel.

/// Declares one or more `repr(C)` structs made of integers (or arrays and structs of them) that cross the kernel boundary.
///
/// The macro asserts at compile time that the struct has no padding (its size is the sum of its fields) and,
/// under the feature `user`, implements `aya::Pod` for it.
macro_rules! kernel_struct {
    ($( $(#[$meta:meta])* pub struct $name:ident { $( $(#[$field_meta:meta])* pub $field:ident : $type:ty ),* $(,)? } )*) => {$(
        $(#[$meta])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name { $( $(#[$field_meta])* pub $field: $type ),* }

        const _: () = assert!(
            size_of::<$name>() == 0 $( + size_of::<$type>() )*,
            concat!(stringify!($name), " has padding: name it as a field")
        );

        #[cfg(feature = "user")]
        // SAFETY: repr(C), made of integers only, and proven free of padding above.
        unsafe impl aya::Pod for $name {}
    )*};
}
pub(crate) use kernel_struct;
