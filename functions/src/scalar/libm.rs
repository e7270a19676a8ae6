//! Functions whose last digit depends on who wrote them: the C library's, which PostgreSQL calls, instead of Rust's own.

macro_rules! from_libm {
    ($($name:ident)*) => {
        mod extern_c {
            unsafe extern "C" {
                $(pub safe fn $name(value: f64) -> f64;)*
            }
        }
        $(
            pub fn $name(value: f64) -> f64 {
                extern_c::$name(value)
            }
        )*
    };
}

from_libm!(asinh acosh atanh);
