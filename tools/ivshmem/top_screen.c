/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/top_screen.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "tools/shared/usage.h"

#define BUSY_NS (3 * IVS_NS_PER_S) /* the user is told if something takes longer */

/* Say how many servers are missing. Return: the length. */
static size_t notice_missing(const struct top_model *model, char out[TOP_NOTE_LEN])
{
	size_t len = 0;

	*out = '\0';
	if (model->left_out_n)
		len = (size_t)snprintf(out, TOP_NOTE_LEN,
				       "servers that are too many to be shown: %u; ",
				       model->left_out_n);
	if (model->delayed_n)
		len += (size_t)snprintf(out + len, TOP_NOTE_LEN - len,
					"servers that were not asked because others are slow: %u; ",
					model->delayed_n);
	return len;
}

void top_notice(const struct top_sampler *sampler, char out[TOP_NOTE_LEN])
{
	const struct ivs_host_regions *regions = &sampler->model.regions;
	char unseen[IVS_HOST_UNSEEN_TEXT_LEN];
	char busy[TOP_PATH_LEN];
	size_t len;

	if (*sampler->busy && ivs_clock_ns() - sampler->busy_ns > BUSY_NS) {
		snprintf(out, TOP_NOTE_LEN, "waiting for %.400s",
			 ivs_text_shown(sampler->busy, busy, sizeof(busy)));
	} else if (sampler->error) {
		snprintf(out, TOP_NOTE_LEN, "cannot examine this host: %s",
			 strerror(sampler->error));
	} else {
		len = notice_missing(&sampler->model, out);
		snprintf(out + len, TOP_NOTE_LEN - len, "%s",
			 ivs_host_users_unseen(regions->unseen_n, regions->hidden, unseen));
		if (len && !out[len])
			out[len - 2] = '\0';
	}
}

#ifdef HAVE_NCURSES

#include <curses.h>
#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <wchar.h>

#include "tools/ivshmem/signals.h"

#define KEY_ESCAPE 27
#define KEY_DELETE 127
#define ESCAPE_MS 50

static volatile sig_atomic_t stopped_by;

static void stop(int signum)
{
	stopped_by = signum;
}

/*
 * Handle signals only while waiting: drawing is not interrupted. Signals that are ignored, for
 * instance after nohup, stay ignored. Set @waiting to the mask to be used while waiting.
 */
static void signals_start(sigset_t *waiting)
{
	struct sigaction action = {.sa_handler = stop};
	sigset_t blocked;

	signals_find_stop(&blocked);
	for (int signum = 1; signum < NSIG; signum++) {
		if (sigismember(&blocked, signum) == 1)
			(void)sigaction(signum, &action, NULL);
	}
	sigaddset(&blocked, SIGWINCH);
	sigaddset(&blocked, SIGTSTP);
	(void)sigprocmask(SIG_BLOCK, &blocked, waiting);
	for (int signum = 1; signum < NSIG; signum++) {
		if (sigismember(&blocked, signum) == 1)
			sigdelset(waiting, signum);
	}
}

/*
 * Handle signals that are still pending. End by the signal that was received, so that a shell sees
 * what has ended the program.
 */
static void signals_finish(const sigset_t *waiting)
{
	(void)sigprocmask(SIG_SETMASK, waiting, NULL);
	if (!stopped_by)
		return;
	(void)signal(stopped_by, SIG_DFL);
	(void)raise(stopped_by);
}

/* Convert a line for the terminal; in a locale without UTF-8, only ASCII is shown. */
static size_t wide_text(const char *text, wchar_t *out, size_t n, int width)
{
	bool utf8 = !strcmp(nl_langinfo(CODESET), "UTF-8");
	mbstate_t state = {0};
	size_t at = 0;
	int used = 0;

	while (*text && at + 1 < n) {
		size_t len = ivs_text_char(text);
		wchar_t c = L'?';
		int columns;

		if (!len)
			break;
		if (len == 1)
			c = (unsigned char)*text;
		else if (utf8 && mbrtowc(&c, text, len, &state) != len)
			c = L'?';
		columns = wcwidth(c);
		if (columns < 0) {
			c = L'?';
			columns = 1;
		}
		used += columns;
		if (used > width)
			break;
		out[at++] = c;
		text += len;
	}
	out[at] = L'\0';
	return at;
}

static void draw_line(int y, const struct top_line *line, int width)
{
	static const attr_t attributes[] = {
		[TOP_PLAIN] = A_NORMAL,
		[TOP_TITLE] = A_REVERSE,
		[TOP_ALERT] = A_BOLD,
		[TOP_HEAD] = A_NORMAL,
	};
	static wchar_t wide[4096];

	(void)wide_text(line->text, wide, sizeof(wide) / sizeof(*wide), width);
	attrset((int)attributes[line->style]);
	if (line->style == TOP_TITLE)
		mvhline(y, 0, ' ', width);
	mvaddwstr(y, 0, wide);
}

/* Return: 0 or -ENOMEM. */
static int screen_draw(struct top_sampler *sampler, struct top_view *view)
{
	struct top_lines lines = {0};
	int height = LINES > 0 ? LINES : 1;
	int width = COLS > 0 ? COLS : 1;
	int result;

	pthread_mutex_lock(&sampler->lock);
	top_notice(sampler, view->notice);
	result = top_view_show(view, &sampler->model, (size_t)width, (size_t)height,
			       ivs_clock_wall_ms(), &lines);
	pthread_mutex_unlock(&sampler->lock);
	erase();
	for (size_t i = 0; i < lines.n && (int)i < height; i++)
		draw_line((int)i, &lines.list[i], width);
	if (view->asks)
		move(height - 1, (int)ivs_text_columns(view->order.filter) + 1);
	(void)curs_set(view->asks);
	refresh();
	top_lines_deinit(&lines);
	return result;
}

static void view_take_filter(struct top_view *view, int key)
{
	size_t len = strlen(view->order.filter);

	if (key == KEY_ESCAPE || key == '\r' || key == '\n' || key == KEY_ENTER) {
		if (key == KEY_ESCAPE)
			*view->order.filter = '\0';
		view->asks = false;
	} else if ((key == KEY_BACKSPACE || key == KEY_DELETE || key == '\b') && len) {
		while (--len && ((unsigned char)view->order.filter[len] & 0xc0) == 0x80)
			continue;
		view->order.filter[len] = '\0';
	} else if (key >= ' ' && key < KEY_DELETE && len + 1 < sizeof(view->order.filter)) {
		view->order.filter[len] = (char)key;
		view->order.filter[len + 1] = '\0';
	}
	view->scroll = 0;
}

static void view_scroll(struct top_view *view, int key)
{
	size_t by = key == KEY_UP || key == KEY_DOWN ? 1 : view->page_n;

	if (key == KEY_HOME)
		view->scroll = 0;
	else if (key == KEY_END)
		view->scroll = SIZE_MAX / 2;
	else if (key == KEY_UP || key == KEY_PPAGE)
		view->scroll -= by < view->scroll ? by : view->scroll;
	else if (key == KEY_DOWN || key == KEY_NPAGE)
		view->scroll += by;
}

/* Return: whether the user wants to end the program. */
static bool take_key(struct top_sampler *sampler, struct top_view *view, int key)
{
	if (view->asks) {
		view_take_filter(view, key);
		return false;
	}
	switch (key) {
	case 'q':
		return true;
	case '?':
	case 'h':
		view->help = !view->help;
		view->scroll = 0;
		break;
	case KEY_ESCAPE:
		view->help = false;
		*view->order.filter = '\0';
		break;
	case '/':
		view->help = false;
		view->asks = true;
		break;
	case 's':
		view->order.sort = (view->order.sort + 1) % TOP_SORTS_N;
		view->scroll = 0;
		break;
	case 'r':
		view->order.reverse = !view->order.reverse;
		break;
	case '\t':
		view->page = view->help ? view->page : (view->page + 1) % TOP_PAGES_N;
		view->help = false;
		view->scroll = 0;
		break;
	case ' ':
		top_sampler_hurry(sampler);
		break;
	default:
		view_scroll(view, key);
	}
	return false;
}

/* Return: whether the program ends. */
static bool take_keys(struct top_sampler *sampler, struct top_view *view)
{
	int key;

	while ((key = getch()) != ERR) {
		if (take_key(sampler, view, key))
			return true;
	}
	return false;
}

static int screen_loop(struct top_sampler *sampler, struct top_view *view, const sigset_t *waiting)
{
	const struct timespec patience = {.tv_sec = 3};
	struct pollfd fds[] = {{STDIN_FILENO, POLLIN, 0}, {sampler->event_fd, POLLIN, 0}};
	int result = 0;

	while (!result && !stopped_by) {
		eventfd_t count;

		if (take_keys(sampler, view))
			return 0;
		result = screen_draw(sampler, view);
		if (!result && ppoll(fds, 2, &patience, waiting) < 0 && errno != EINTR)
			result = -errno;
		/* The terminal is gone: end as if SIGHUP had already arrived. */
		if (fds[0].revents & (POLLHUP | POLLERR | POLLNVAL)) {
			(void)raise(SIGHUP);
			return 0;
		}
		if (fds[1].revents)
			(void)eventfd_read(sampler->event_fd, &count);
		fds[0].revents = fds[1].revents = 0;
	}
	return result;
}

/* Return: whether the terminal can place text, unlike TERM=dumb. */
static bool can_place(void)
{
	const char *sequence = tigetstr("cup");

	return sequence && sequence != (const char *)-1;
}

int top_screen_run(struct top_sampler *sampler, struct top_view *view)
{
	const char *type = getenv("TERM");
	sigset_t waiting;
	SCREEN *screen;
	int result;

	(void)setlocale(LC_CTYPE, "");
	signals_start(&waiting);
	screen = newterm(NULL, stdout, stdin);
	if (!screen || !can_place()) {
		if (screen)
			(void)endwin();
		return usage_failed("the type of this terminal (TERM=%s) is not known, or cannot "
				    "place text: set TERM, or use --once",
				    type ? type : "");
	}
	(void)cbreak();
	(void)noecho();
	(void)nonl();
	(void)intrflush(stdscr, FALSE);
	(void)keypad(stdscr, TRUE);
	(void)nodelay(stdscr, TRUE);
	(void)set_escdelay(ESCAPE_MS);
	result = screen_loop(sampler, view, &waiting);
	(void)endwin();
	delscreen(screen);
	signals_finish(&waiting);
	return result ? usage_failed("%s", strerror(-result)) : 0;
}

#else

int top_screen_run(struct top_sampler *sampler, struct top_view *view)
{
	(void)sampler;
	(void)view;
	return usage_failed("this program was built without ncurses: use --once");
}

#endif
