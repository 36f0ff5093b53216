// Calls a pure virtual function: from the constructor of the base, the derived class is not there yet.
#define NOINLINE __attribute__((noinline))

struct shape {
    NOINLINE shape() { describe(); }
    NOINLINE void describe() { total += area(); } // CALL
    virtual int area() = 0;
    virtual ~shape() = default;
    int total = 0;
};

struct square : shape {
    NOINLINE square() {}
    int area() override { return 4; }
};

NOINLINE int draw(int n)
{
    square s;
    return s.total + n;
}

int main(int argc, char **)
{
    return draw(argc) + 1;
}
