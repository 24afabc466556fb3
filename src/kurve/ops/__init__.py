"""Operations on arrays: tables of what each computes, and its derivative."""
