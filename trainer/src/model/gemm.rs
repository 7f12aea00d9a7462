//! Matrix products over strided views, by `matrixmultiply`.

#![allow(unsafe_code)]

/// A strided view of a matrix.
#[derive(Clone, Copy)]
pub struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

/// A strided view to write into; columns lie side by side.
pub struct MatrixMut<'a> {
    data: &'a mut [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
}

fn fits(length: usize, rows: usize, columns: usize, row_stride: usize) -> bool {
    rows == 0 || columns == 0 || (rows - 1) * row_stride + columns <= length
}

impl<'a> Matrix<'a> {
    /// A matrix whose rows follow one another.
    pub fn new(data: &'a [f32], rows: usize, columns: usize) -> Self {
        Self::strided(data, rows, columns, columns)
    }

    /// A matrix whose rows begin `row_stride` apart.
    pub fn strided(data: &'a [f32], rows: usize, columns: usize, row_stride: usize) -> Self {
        // `multiply` reads through pointers within these bounds.
        assert!(fits(data.len(), rows, columns, row_stride), "matrix view outside its data");
        Matrix { data, rows, columns, row_stride, column_stride: 1 }
    }

    /// Its transpose.
    pub fn transposed(self) -> Self {
        Matrix {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

impl<'a> MatrixMut<'a> {
    /// A matrix whose rows follow one another.
    pub fn new(data: &'a mut [f32], rows: usize, columns: usize) -> Self {
        Self::strided(data, rows, columns, columns)
    }

    /// A matrix whose rows begin `row_stride` apart.
    pub fn strided(data: &'a mut [f32], rows: usize, columns: usize, row_stride: usize) -> Self {
        // `multiply` writes through pointers within these bounds, each element once.
        assert!(fits(data.len(), rows, columns, row_stride), "matrix view outside its data");
        assert!(row_stride >= columns, "rows of a written matrix overlap");
        MatrixMut { data, rows, columns, row_stride }
    }
}

/// `c = scale * a * b + keep * c`; `keep` 0 overwrites whatever `c` held.
pub fn multiply(scale: f32, a: Matrix<'_>, b: Matrix<'_>, keep: f32, c: MatrixMut<'_>) {
    assert!(a.columns == b.rows && a.rows == c.rows && b.columns == c.columns, "shapes disagree");
    // SAFETY: the constructors checked that every index `i * row_stride + j * column_stride` of
    // each view lies inside its slice (a transpose swaps both), `c` is borrowed mutably so it
    // overlaps neither operand, and its rows do not overlap. Strides are below `isize::MAX`
    // because they were multiplied into a slice index.
    unsafe {
        matrixmultiply::sgemm(
            a.rows,
            a.columns,
            b.columns,
            scale,
            a.data.as_ptr(),
            a.row_stride as isize,
            a.column_stride as isize,
            b.data.as_ptr(),
            b.row_stride as isize,
            b.column_stride as isize,
            keep,
            c.data.as_mut_ptr(),
            c.row_stride as isize,
            1,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multiplies_strided_and_transposed_views() {
        let a = [1.0, 2.0, 9.0, 3.0, 4.0, 9.0];
        let b = [5.0, 6.0, 7.0, 8.0];
        let mut c = [1.0; 4];
        let a = Matrix::strided(&a, 2, 2, 3);
        multiply(1.0, a, Matrix::new(&b, 2, 2), 0.0, MatrixMut::new(&mut c, 2, 2));
        assert_eq!(c, [19.0, 22.0, 43.0, 50.0]);
        let b = Matrix::new(&b, 2, 2).transposed();
        multiply(2.0, a, b, 1.0, MatrixMut::new(&mut c, 2, 2));
        assert_eq!(c, [53.0, 68.0, 121.0, 156.0]);
    }
}
