//! A file system that refuses every file, for sessions that must not use the files of the host.

#include "host_files.hpp"

#include "duckdb/common/multi_file/multi_file_list.hpp"
#include "duckdb/common/opener_file_system.hpp"
#include "duckdb/main/client_context.hpp"
#include "duckdb/main/client_data.hpp"

using namespace duckdb;

namespace quack {

namespace {

//! Opens nothing, lists nothing, and says of no file whether it exists.
class NoFiles : public FileSystem {
public:
	unique_ptr<FileHandle> OpenFile(const string &path, FileOpenFlags, optional_ptr<FileOpener>) override {
		throw Refused(path);
	}
	unique_ptr<MemoryMappedFile> MemoryMapFile(const OpenFileInfo &file, FileOpenFlags, const MMapOptions &,
	                                           optional_ptr<FileOpener>) override {
		throw Refused(file.path);
	}
	optional<FileMetadata> GetStatsIfExists(const OpenFileInfo &file, optional_ptr<FileOpener>) override {
		throw Refused(file.path);
	}
	bool DirectoryExists(const string &, optional_ptr<FileOpener>) override {
		return false;
	}
	void CreateDirectory(const string &directory, optional_ptr<FileOpener>) override {
		throw Refused(directory);
	}
	bool CreateDirectoryExtended(const string &directory, const CreateDirectoryOptions &,
	                             optional_ptr<FileOpener>) override {
		throw Refused(directory);
	}
	void RemoveDirectory(const string &directory, optional_ptr<FileOpener>) override {
		throw Refused(directory);
	}
	bool RemoveDirectoryExtended(const string &directory, const RemoveDirectoryOptions &,
	                             optional_ptr<FileOpener>) override {
		throw Refused(directory);
	}
	bool ListFiles(const string &directory, const std::function<void(const string &, bool)> &, FileOpener *) override {
		throw Refused(directory);
	}
	void MoveFile(const string &source, const string &, optional_ptr<FileOpener>) override {
		throw Refused(source);
	}
	bool FileExists(const string &, optional_ptr<FileOpener>) override {
		return false;
	}
	bool IsPipe(const string &, optional_ptr<FileOpener>) override {
		return false;
	}
	void RemoveFile(const string &path, optional_ptr<FileOpener>) override {
		throw Refused(path);
	}
	bool TryRemoveFile(const string &path, optional_ptr<FileOpener>) override {
		throw Refused(path);
	}
	void RemoveFiles(const vector<string> &paths, optional_ptr<FileOpener>) override {
		throw Refused(paths.empty() ? string() : paths[0]);
	}
	vector<OpenFileInfo> Glob(const string &path, FileOpener *) override {
		throw Refused(path);
	}
	bool CanHandleFile(const string &) override {
		return true;
	}
	string CanonicalizePath(const string &path, optional_ptr<FileOpener>) override {
		return path;
	}
	bool IsDisabledForPath(const string &) override {
		return true;
	}
	std::string GetName() const override {
		return "NoFiles";
	}

protected:
	unique_ptr<FileHandle> OpenFileExtended(const OpenFileInfo &file, FileOpenFlags,
	                                        optional_ptr<FileOpener>) override {
		throw Refused(file.path);
	}
	bool SupportsOpenFileExtended() const override {
		return true;
	}
	bool ListFilesExtended(const string &directory, const std::function<void(OpenFileInfo &info)> &,
	                       optional_ptr<FileOpener>) override {
		throw Refused(directory);
	}
	bool SupportsListFilesExtended() const override {
		return true;
	}
	unique_ptr<MultiFileList> GlobFilesExtended(const string &path, const FileGlobInput &,
	                                            optional_ptr<FileOpener>) override {
		throw Refused(path);
	}
	bool SupportsGlobExtended() const override {
		return true;
	}

private:
	static PermissionException Refused(const string &path) {
		return PermissionException("\"%s\": this session is served over the network, and does not use the files of the "
		                           "process that serves it. Read or write the file where the client is, or serve with "
		                           "allow_host_access := true",
		                           path);
	}
};

class SessionFiles : public OpenerFileSystem {
public:
	explicit SessionFiles(ClientContext &context) : context(context) {
	}

	FileSystem &GetFileSystem() const override {
		return none;
	}
	optional_ptr<FileOpener> GetOpener() const override {
		return ClientData::Get(context).file_opener.get();
	}

private:
	ClientContext &context;
	mutable NoFiles none;
};

} // namespace

void HideHostFiles(ClientContext &context) {
	ClientData::Get(context).client_file_system = make_uniq<SessionFiles>(context);
}

} // namespace quack
