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

/// Declares structs of counters: [`kernel_struct!`] with the arithmetic that every counter needs, written once for all fields.
macro_rules! counters {
    ($( $(#[$meta:meta])* pub struct $name:ident { $( $(#[$field_meta:meta])* pub $field:ident ),* $(,)? } )*) => {
        $crate::pod::kernel_struct! {$(
            $(#[$meta])*
            #[derive(Default)]
            pub struct $name { $( $(#[$field_meta])* pub $field: u64 ),* }
        )*}

        $(
            impl $name {
                /// Nothing counted yet.
                pub const ZERO: Self = Self { $( $field: 0 ),* };

                /// Adds another share: another CPU's, or another window's.
                pub fn merge(&mut self, other: &Self) {
                    $( self.$field = self.$field.saturating_add(other.$field); )*
                }

                /// What was counted since an earlier reading; a counter that went backwards counts as not moved.
                #[must_use]
                pub fn since(&self, earlier: &Self) -> Self {
                    Self { $( $field: self.$field.saturating_sub(earlier.$field) ),* }
                }
            }
        )*
    };
}
pub(crate) use counters;

#[cfg(test)]
mod tests {
    #[expect(unreachable_pub, reason = "the macro declares public structs")]
    mod pair {
        super::super::counters! {
            /// Two counters.
            pub struct Pair {
                /// One.
                pub one,
                /// Another.
                pub two,
            }
        }
    }
    use pair::Pair;

    #[test]
    fn counters_add_and_subtract_field_by_field() {
        let mut sum = Pair { one: 1, two: 2 };
        sum.merge(&Pair { one: 10, two: 20 });
        assert_eq!(sum, Pair { one: 11, two: 22 });
        assert_eq!(
            sum.since(&Pair { one: 1, two: 30 }),
            Pair { one: 10, two: 0 }
        );
        assert_eq!(sum.since(&Pair::ZERO), sum);
    }
}
