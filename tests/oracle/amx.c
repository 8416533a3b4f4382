/* Lets User Mode Linux run on a processor with AMX.
 *
 * UML keeps the floating point state of its processes by ptrace(PTRACE_GETREGSET/SETREGSET, NT_X86_XSTATE) in a buffer
 * of a fixed size. With AMX the whole state is larger than that: the kernel answers with as much as fits, and refuses
 * to take it back cut off ("ptrace set fp regs failed"). This library stands between (LD_PRELOAD): it reads the whole
 * state into a buffer that is large enough, hands UML the part that it asked for, and on the way back puts that part
 * into the whole again. The tile registers' two bits (17 and 18) of the header's list of used components are cleared:
 * nothing that runs in the guest uses them. Everything else goes through unchanged.
 */
#define _GNU_SOURCE
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { XSTATE = 0x202, HEADER = 512 };

static char whole[65536];

static long call(int request, int pid, void *address, void *data)
{
	return syscall(SYS_ptrace, request, pid, address, data);
}

static long get_state(int pid, struct iovec *wanted)
{
	struct iovec all = { whole, sizeof whole };
	long result = call(PTRACE_GETREGSET, pid, (void *)XSTATE, &all);
	if (result < 0)
		return result;
	if (wanted->iov_len > all.iov_len)
		wanted->iov_len = all.iov_len;
	memcpy(wanted->iov_base, whole, wanted->iov_len);
	return 0;
}

static long set_state(int pid, const struct iovec *given)
{
	struct iovec all = { whole, sizeof whole };
	unsigned long long used;
	long result = call(PTRACE_GETREGSET, pid, (void *)XSTATE, &all);
	if (result < 0)
		return result;
	memcpy(whole, given->iov_base, given->iov_len < all.iov_len ? given->iov_len : all.iov_len);
	memcpy(&used, whole + HEADER, sizeof used);
	used &= ~(3ULL << 17);
	memcpy(whole + HEADER, &used, sizeof used);
	return call(PTRACE_SETREGSET, pid, (void *)XSTATE, &all);
}

long ptrace(enum __ptrace_request request, ...)
{
	va_list arguments;
	int pid;
	void *address, *data;
	long word, result;

	va_start(arguments, request);
	pid = va_arg(arguments, int);
	address = va_arg(arguments, void *);
	data = va_arg(arguments, void *);
	va_end(arguments);
	if (address == (void *)XSTATE && request == PTRACE_GETREGSET)
		return get_state(pid, data);
	if (address == (void *)XSTATE && request == PTRACE_SETREGSET)
		return set_state(pid, data);
	/* The system call writes the word it read where the library's function returns it. */
	if (request == PTRACE_PEEKTEXT || request == PTRACE_PEEKDATA || request == PTRACE_PEEKUSER) {
		result = call(request, pid, address, &word);
		return result < 0 ? result : word;
	}
	return call(request, pid, address, data);
}
